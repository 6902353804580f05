// Package sqlite is the embedded backend: one SQLite file, for the first run and for a single host. Several processes
// may use it at once.
//
// # Invariants
//
//   - A write that was acknowledged survives a crash of the machine (WAL, synchronous=FULL).
//   - Compare-and-set is one transaction. Versions come from one counter for the whole file, so a record that is
//     deleted and created again never meets an old version.
//   - Payloads are sealed with AEAD; the account's id and the version are authenticated with them, so that payloads
//     cannot be swapped between rows, nor an old one pass for the current version. Who can write the file can still
//     put back a whole old row, or the whole old file: that is not detected.
package sqlite
