// Package rotation keeps credentials alive: it follows the store, renews access tokens ahead of time, and never loses a
// rotated refresh token. It knows no route, pool, tenant or request, and who serves is not its business.
//
// A [Keeper] holds one [Account] for each record. What is known of an account's credential is its lifecycle: a value
// whose transitions take the time, do no I/O, and are tested as tables. Keeper.change is the only one to call them. It
// derives the [View] of the account and hands it to its [Seat], and it plans the next renewal, so that no caller can
// forget either. Back come three things: [Keeper.Join] when somebody needs a token, the seat's [Objections] when a
// provider refuses one, and [Keeper.Proved] when a refresh has helped.
//
// # A refresh
//
// The steps are claim, redeem, keep, journal, commit; see refresh.go. The token endpoint is called only with a claim
// that was confirmed on the very version that supplied the refresh token, so two processes never spend one token.
// Whatever it answers is kept in memory and in the [Journal] before it is saved, and saving never gives up while the
// process lives.
//
// # Locks
//
// An account's lock is taken before its seat's, and none is held over I/O. The keeper's own lock guards the map of
// accounts; it is never taken under an account's.
package rotation
