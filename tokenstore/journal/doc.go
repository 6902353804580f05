// Package journal is the crash journal of rotated tokens: a folder of sealed files, one for each rotation that was
// received from a token endpoint and is not in the backend yet.
//
// # Invariants
//
//   - Append returns when the entry would survive a crash of the machine: file and folder are synced, and the file
//     appears under its name only when it is whole.
//   - Entries are sealed with AEAD; the file's name is authenticated with them.
//   - A file that cannot be opened is reported and left alone: it may be all that is left of an account.
package journal
