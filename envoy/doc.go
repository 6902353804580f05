// Package envoy builds the complete Envoy configuration from plain values, as typed protos, and runs Envoy as a child.
//
// The shape is two listeners in one Envoy. The outer one, tokenward_in, owns the client: routes, the body kept for
// retries, and a retry policy that knows nothing but our private marker. The inner one, tokenward_attempt, runs once
// per attempt; there the ext_proc filter chooses account and cluster, by a header that the inner route follows.
//
// # Invariants
//
//   - Without an answer of the service the cluster header is missing and nothing leaves: fail closed by construction.
//     Only that makes failure_mode_allow safe.
//   - Nothing internal (x-tokenward-*, x-envoy-*, x-forwarded-*) reaches a provider or a client, or is taken from
//     either.
//   - ext_proc never runs as an upstream filter, xds.node is never asked for, and no filter state is passed along:
//     each of these crashes Envoy or leaks between tenants.
//
// The package knows no other package of the project.
package envoy
