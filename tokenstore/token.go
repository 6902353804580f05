package tokenstore

import (
	"sync/atomic"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// token is one generation of an account's access token. Immutable but for accepted.
type token struct {
	generation  record.Generation
	expires     time.Time // zero: unknown, it is used until it is refused
	obtained    time.Time
	begins      time.Time     // obtained, or when this process met it if the record does not say or is ahead of our clock
	hint        time.Duration // how long it may live, if expires does not say; 0: unknown
	usableUntil int64         // Unix nanoseconds: expiry less the skew; never when endless
	headers     []verdict.Header
	fingerprint string
	jitter      float64     // of the renewal, drawn once
	refreshed   bool        // this process obtained it, so `accepted` covers its whole use
	given       bool        // no refresh brought it: that its predecessor was accepted says nothing of it
	accepted    atomic.Bool // the provider has accepted it once
}

// newToken prepares what picks will need of the record's access token.
func newToken(id record.ID, r record.Record, d Driver, gen record.Generation, jitter float64, now time.Time) *token {
	t := &token{
		generation: gen, expires: r.ExpiresAt, obtained: r.ObtainedAt, usableUntil: never,
		begins: r.ObtainedAt, hint: hintOf(d, r),
		jitter: jitter, headers: d.Headers(r), fingerprint: record.Fingerprint(id, d.Token(r)),
	}
	if t.begins.IsZero() || t.begins.After(now) {
		t.begins = now
	}
	if !r.ExpiresAt.IsZero() {
		t.usableUntil = r.ExpiresAt.Add(-skewOf(t.lifetime())).UnixNano()
	}
	return t
}

// unproven reports whether the token was refreshed within the last minute and never accepted: if it is refused, another
// refresh will not help, and asking for one on every request would hammer the token endpoint.
func (t *token) unproven(now time.Time) bool {
	return t.refreshed && !t.accepted.Load() && now.Sub(t.obtained) < suspectFor
}

// lifetime is the token's whole life; an hour when the record does not say when it began.
func (t *token) lifetime() time.Duration {
	if t.obtained.IsZero() || !t.obtained.Before(t.expires) {
		return time.Hour
	}
	return t.expires.Sub(t.obtained)
}
