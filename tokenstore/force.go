package tokenstore

import (
	"fmt"
	"time"
)

// ForceRisk says what a forced refresh of an account may cost, for whoever is about to ask for one, and whether it may
// cost more than a refresh token.
func (st AccountStatus) ForceRisk(now time.Time) (risk string, grave bool) {
	life := ""
	if left := st.ExpiresAt.Sub(now).Round(time.Second); left > 0 {
		life = fmt.Sprintf(", which lives for another %s", left)
	}
	alive := st.Generation > 0 && (st.ExpiresAt.IsZero() || st.ExpiresAt.After(now))
	switch {
	case st.State == StateAmbiguous && alive:
		return "its refresh token may be spent already: if it is, a strict provider revokes the account, and with it the " +
			"access token" + life, true
	case st.State == StateAmbiguous:
		return "its refresh token may be spent already: if it is, the account needs a new login", false
	case st.State == StateNeedsReauth:
		return "the provider has refused its credential for good: it is asked once more", false
	case alive:
		return "it spends a refresh token although the access token lives" + life +
			": if the answer is lost, the account may need a new login", false
	}
	return "", false
}
