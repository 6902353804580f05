// Package vault is the production backend: one KV v2 secret per account in HashiCorp Vault, shared by any number of
// replicas and by the operators, who write the same secrets with the tools they have.
//
// This package speaks with Vault: login, requests, errors. Package kv below it decides what the answers mean.
//
// # Invariants
//
//   - The record is the secret's data, flat, so that `vault kv put`, `kv patch`, `kv rollback`, the UI and Terraform
//     work on it. Account ids are the names of the secrets directly under the prefix; other names and sub-folders are
//     ignored.
//   - Keys that this version does not know are kept as Vault keeps them: it sorts the keys of nested objects and holds
//     numbers as floats of double precision.
//   - Writes go through KV's check-and-set and are never repeated by themselves. A write whose answer got lost is an
//     error here; the store recognises its own write by the record's write id.
//   - Versions are KV's. They start again at 1 when an operator removes a secret with its metadata and creates it anew:
//     only the record's incarnation tells the two apart. Watch notices it by the version's creation time.
//   - A version that is soft-deleted or destroyed loads as ErrDeleted: the operator paused the account. It is listed
//     with version 0, so that no copy in memory counts as current. A write with the version that was deleted succeeds,
//     as KV has it: a refresh that was under way is saved rather than lost. Use `state=paused` to pause with a conflict
//     for running writes.
//   - The service's own token is renewed, and replaced when Vault calls it dead; a call that met the dead token is made
//     once more with the new one. A policy's refusal is not a dead token: it is reported with the path and capability
//     that lack.
//   - An account whose own path is denied or whose entry is broken stops no other: it is listed with version 0, loads
//     as ErrWithheld, and is never taken for deleted. It counts as the account's own trouble only if a neighbour can be
//     read.
//   - Vault may be away, also at the start: calls fail until it is back, nothing needs a restart.
//   - Errors name what was tried, what is wrong and what to do. They hold no token, no credential, no body of a
//     response.
package vault
