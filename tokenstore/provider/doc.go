// Package provider holds one driver per provider: how a token is refreshed, which headers an attempt carries, what an
// answer means, and how a refusal of ours looks in the provider's format.
//
// Facts about providers come from their documentation and public clients; each table names its source. A grant request
// is made exactly once: single-use refresh tokens leave no room for a transparent repeat.
package provider
