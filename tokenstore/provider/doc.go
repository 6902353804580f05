// Package provider holds one driver per provider: how a token is refreshed, which headers an attempt carries, what an
// answer means, and how a refusal of ours looks in the provider's format. docs/drivers.md says how to write one.
//
// A driver is one file with one Spec; everything that others need to know of it is in there. A driver has two halves:
// redeemer.go obtains tokens, dialect.go speaks on the data plane. What a provider says is in tables of rows, tried in
// order, and every row names its source. No function knows a provider's words.
//
// A grant request is made exactly once: single-use refresh tokens leave no room for a transparent repeat.
package provider
