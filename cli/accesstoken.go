package cli

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// needless says why an access token that was given must not take the place of the account's own, which lives; nil: it
// may. Nobody can tell a good token from its looks: one that lives is worth more than one that somebody has pasted,
// unless the record cannot do without, or it comes with a new credential, from the same login.
func (s *Session) needless(id tokenstore.AccountID, old, next tokenstore.Record) error {
	now := time.Now()
	lives := !old.AccessToken.IsZero() && old.ExpiresAt.After(now)
	if !lives || next.AccessToken.Equal(old.AccessToken) || next.Provider != old.Provider {
		return nil
	}
	if next.Kind != old.Kind || !next.Credential().Equal(old.Credential()) {
		return nil // ended or not, the new credential is exchanged at once
	}
	own := old.ExpiresAt.UTC().Format(time.RFC3339)
	if end := next.ExpiresAt; !end.IsZero() && !end.After(now) {
		return Usagef("--expires-at says that the access token ended at %s, and the account's own lives until %s: "+
			"give one that lives, or leave it out", end.Format(time.RFC3339), own)
	}
	d := s.Drivers[old.Provider]
	if d == nil || !d.Refreshable(old) {
		return nil
	}
	is, _ := tokenstore.Standing(id, old, s.Drivers, s.Pools)
	if is != tokenstore.StateActive && is != tokenstore.StatePaused {
		return nil
	}
	return refusedf("its own access token lives until %s, and the service gets the next one by itself: another in its "+
		"place may be worth nothing: leave it out (tokenward accounts refresh --force gets a new one), or give --force", own)
}
