package tokenstore

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/selection"
)

// token is one generation of an account's access token. Immutable.
type token struct {
	generation  record.Generation
	expires     time.Time // zero: unknown, it is used until it is refused
	obtained    time.Time
	begins      time.Time     // obtained, or when this process met it if the record does not say or is ahead of our clock
	hint        time.Duration // how long it may live, if expires does not say; 0: unknown
	fingerprint string
	jitter      float64          // of the renewal, drawn once
	seat        *selection.Token // as picks see it
}

// newToken prepares what picks will need of the record's access token.
func newToken(id record.ID, r record.Record, d Driver, gen record.Generation, jitter float64, now time.Time) *token {
	t := &token{
		generation: gen, expires: r.ExpiresAt, obtained: r.ObtainedAt, begins: r.ObtainedAt, hint: hintOf(d, r),
		jitter: jitter, fingerprint: record.Fingerprint(id, d.Token(r)),
		seat: &selection.Token{Generation: gen, UsableUntil: selection.Never, Headers: d.Headers(r)},
	}
	if t.begins.IsZero() || t.begins.After(now) {
		t.begins = now
	}
	if !r.ExpiresAt.IsZero() {
		t.seat.UsableUntil = r.ExpiresAt.Add(-skewOf(t.lifetime())).UnixNano()
	}
	return t
}

// lifetime is the token's whole life; an hour when the record does not say when it began.
func (t *token) lifetime() time.Duration {
	if t.obtained.IsZero() || !t.obtained.Before(t.expires) {
		return time.Hour
	}
	return t.expires.Sub(t.obtained)
}
