// Package sqlite is the embedded backend: one SQLite file, for the first run and for a single host. Several processes
// may use it at once.
//
// # Invariants
//
//   - A write that was acknowledged survives a crash of the machine (WAL, synchronous=FULL).
//   - Compare-and-set is one statement. Versions come from one counter for the whole file, so a record that is deleted
//     and created again never meets an old version.
//   - Payloads are sealed with AEAD; the account's id and the version are authenticated with them, so that rows cannot
//     be swapped or put back.
package sqlite
