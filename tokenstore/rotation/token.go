package rotation

import (
	"math"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Never is the instant after all others, in Unix nanoseconds.
const Never = math.MaxInt64

// Token is one generation of an account's access token. Immutable.
type Token struct {
	Generation  record.Generation
	Expires     time.Time // zero: unknown, it is used until it is refused
	Obtained    time.Time
	UsableUntil int64     // Unix nanoseconds: expiry less the skew; Never when endless
	RefreshedAt time.Time // when this process obtained it; zero: it did not
	Given       bool      // no refresh brought it
	Fingerprint string

	begins time.Time     // Obtained, or when this process met it if the record does not say or is ahead of our clock
	hint   time.Duration // how long it may live, if Expires does not say; 0: unknown
	jitter float64       // of the renewal, drawn once
}

// newToken is the record's access token.
func newToken(id record.ID, r record.Record, d Redeemer, gen record.Generation, jitter float64, now time.Time) *Token {
	t := &Token{
		Generation: gen, Expires: r.ExpiresAt, Obtained: r.ObtainedAt, UsableUntil: Never, begins: r.ObtainedAt,
		hint: hintOf(d, r), jitter: jitter, Fingerprint: record.Fingerprint(id, d.Token(r)),
	}
	if t.begins.IsZero() || t.begins.After(now) {
		t.begins = now
	}
	if !r.ExpiresAt.IsZero() {
		t.UsableUntil = r.ExpiresAt.Add(-skewOf(t.lifetime())).UnixNano()
	}
	return t
}

// lifetime is the token's whole life; an hour when the record does not say when it began.
func (t *Token) lifetime() time.Duration {
	if t.Obtained.IsZero() || !t.Obtained.Before(t.Expires) {
		return time.Hour
	}
	return t.Expires.Sub(t.Obtained)
}
