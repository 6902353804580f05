// Package extproc is the Envoy edge: one gRPC stream is one upstream attempt.
//
// A stream gets the request headers, asks the store for a pick and answers with the headers to set; gets the response
// headers, reports them and answers with the decision: pass, retry (the marker), or an answer of our own. It knows no
// account, no provider and no policy.
//
// # Invariants
//
//   - Nothing of a peer is read before the gate has let it in: on a Unix socket by its user, over TCP by its
//     certificate.
//   - Whatever a peer sends, in whatever order, is answered or refused. A panic ends its stream alone.
//   - A metric's label is a name of the configuration.
//   - A stream never ends cleanly before the request headers are answered: Envoy would send the request on without a
//     token.
//   - Every final reply to response headers removes x-tokenward-status: what is left of it tells the outer listener
//     that we died while we held a refusal.
//   - A peek adds at most one second to a request, and what it does not understand goes on byte for byte.
//   - The trail of a request in recovery is bounded in number and age.
//   - While a process runs, somebody listens at its Unix socket's path within a second, whoever took it over and left.
//   - A stream that Envoy cancels after the last answer is a success, not an error.
package extproc
