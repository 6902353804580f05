package rotation

import (
	"time"
)

// A credential is judged by all that is known of it: a success or another credential clears it, a later failure of
// another kind does not. What is known is in the record, bound to the credential's fingerprint, so that it survives
// restarts.

// refused reports whether the token endpoint, or what stands before it, refused the grant: a 4xx that is no matter of
// time, or an error in a success.
func (e *RefreshError) refused() bool {
	switch e.Status {
	case 407, 408, 425, 429, 499: // a proxy's login, timeouts, limits, a client that left
		return false
	}
	return e.Status >= 400 && e.Status < 500 || e.Status >= 200 && e.Status < 300 && e.Code != ""
}

// serves reports whether the account's token lives, wherever else it may be benched.
func (l *lifecycle) serves(now time.Time) bool {
	return l.token != nil && now.UnixNano() < l.token.UsableUntil && !l.refused()
}
