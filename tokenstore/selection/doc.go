// Package selection says who serves an attempt. It knows accounts by their seats, never by their credentials, and does
// no I/O.
//
// A [Board] holds the configured routes, upstreams and pools, and the seats of each pool by tenant. [Route.Choose]
// walks a route's upstreams and finds the best seat: one with a living token and room within its limits, else one that
// a refresh would help, else one whose token is only suspect.
//
// A [Seat] is what picks read of one account: atomics, and behind them the health that they follow from. Two sides
// write it. What is known of the credential arrives by [Seat.Publish]. What answers say arrives by [Seat.Judge],
// [Seat.Limited], [Seat.Succeeded] and the like; [Seat.Objections] hands on what of it the credential's side must know.
//
// # Evidence
//
// Refusals are evidence, and a refusal may be the request's own fault: a missing scope, an unknown model, a path that
// wants another kind of key. So no single request takes an account away from the others:
//
//   - A refused token is refreshed once, for the request that met it; other requests may wait for that refresh.
//   - Until it is accepted or replaced, the refused token is used after better ones, and for a minute only (it is
//     suspect).
//   - Refusals of requests of two shapes (client and path), with no acceptance between, bench the account where a
//     refresh has not helped, or cannot: other upstreams come first then. Even so it serves when nobody else can.
//   - A token that was accepted within the last minute is healthy, however many requests it is refused with, unless
//     another account accepts such a request.
//   - A request is guilty when a second account refuses it, too, a fresh token among them, and one of the accounts is
//     healthy.
//   - A refused token of a dead credential stays benched until a new one comes. It is the last resort if two shapes
//     were refused, or if it was never accepted. One that was never accepted serves one attempt a minute.
//   - Only the token endpoint's word makes an account need a human.
package selection
