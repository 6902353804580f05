// Package kv is a tokenstore.Backend on a KV v2 secrets engine, whoever carries its requests: package vault sends them
// to Vault, the model in tokenstoretest answers them from memory. What a secret's versions, deletions and denials mean
// for an account is decided here, once for both.
//
// # Invariants
//
//   - A write is one request with compare-and-set. It is not repeated here.
//   - A record is left out of a listing, or reported as gone, only if the engine said that it does not exist.
//   - A read that fails for one account is that account's own trouble only if a neighbour can be read.
//   - Watch goes on whatever fails, and misses nothing: it compares marks, which tell two states of a secret apart.
package kv
