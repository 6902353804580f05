// Package tlsfile loads certificates, keys and authorities from PEM files, and reads them again when they change: by
// rename, by a symbolic link that is set anew (as Kubernetes does it), or in place. It compares contents, since neither
// time nor inode tell surely.
//
// What is in use is always whole and was good when it was read. Files that cannot be used as they are (half a pair, a
// certificate that has ended, no file) are told of once, in the log and as a metric, and what was in use stays so until
// they can be. Handshakes do no I/O. Connections that stand are left alone. The package imports nothing of ours.
package tlsfile
