// Package tokenstore decides who may serve an upstream attempt and keeps every account's access token alive.
//
// The whole data plane is two calls per attempt:
//
//	Pick    before the request leaves: which upstream, which account, which headers
//	Report  when the response headers are in: pass, retry, refuse, or first peek at the body
//
// A refused token is refreshed inside Report, while the caller holds the response. The package knows no HTTP
// server, no gRPC, no Vault and no Envoy: edges translate, adapters implement [Backend] and [Driver].
//
// The package is the facade of two engines that do not know each other:
//
//	rotation   keeps credentials alive: follows the store, renews, claims, redeems, saves
//	selection  says who serves: routes, pools, seats, limits, evidence
//	record     is what is stored, verdict is what answers mean; both are values alone
//
// host.go binds the engines. Their words are aliases here, for the edges.
//
// # Invariants
//
//   - One refresh of an account runs at a time in a process (a flight), and the record's claim, written by
//     compare-and-set before the token endpoint is called, keeps other processes out.
//   - A refresh never runs on a request's context: a client that leaves cannot lose a rotated refresh token.
//   - Every pick carries the generation of its access token. Evidence about generation n says nothing about n+1:
//     a storm of refusals of one token costs one refresh.
//   - routable (may serve attempts) and refreshable (may get a new token) are separate: a dead refresh token with a
//     living access token keeps serving.
//   - A pick is within the account's limits: its place is reserved first, and whoever loses the last one chooses again.
//   - An account of one tenant never serves another tenant.
//   - One unreadable record or failing account never stops another.
//   - Secret values exist only as [Secret], which no formatter prints.
package tokenstore
