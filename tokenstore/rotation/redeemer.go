package rotation

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Redeemer is how new access tokens come about at one provider. Safe for concurrent use.
type Redeemer interface {
	// Check reports a record that the driver cannot work with, as a *RecordError with key and rule. No I/O.
	Check(r record.Record) error

	// Refreshable reports whether Refresh could yield a token for the record. False for static keys and for records
	// without a credential: they serve until their token ends. No I/O.
	Refreshable(r record.Record) bool

	// Token returns the access token that is in the record without any refresh: the stored access token, or the key
	// of a static account. Zero when there is none yet. No I/O.
	Token(r record.Record) record.Secret

	// Refresh makes exactly one grant request with the record's credential: no redirects, no repeat once bytes were
	// written. The context carries the deadline. Every error is a *RefreshError.
	Refresh(ctx context.Context, r record.Record) (Grant, error)

	// Replay says what a second use of one refresh token means at this provider, and with ReplayGrace for how long after
	// the first use the predecessor is accepted; 0: not known.
	Replay() (ReplayPolicy, time.Duration)
}

// Estimator is a Driver that can guess how long an access token lives whose record does not say.
type Estimator interface {
	// Lifespan is how long the record's access token lives from its obtained_at on, by what the token says of itself;
	// 0: it says nothing. It proves nothing: good for planning alone. No I/O.
	Lifespan(r record.Record) time.Duration
}

// Grant is the answer of a token endpoint.
type Grant struct {
	AccessToken  record.Secret // never zero
	TokenType    string        // "" means Bearer
	ExpiresIn    time.Duration // 0: not told, and the driver knows no default: the token is used until it is refused
	Hint         time.Duration // what else the answer says of the token's life, for planning alone; 0: nothing
	RefreshToken record.Secret // zero: not rotated, keep the old one
	Scope        string        // "": unchanged
}

// ReplayPolicy says what a second use of one refresh token means at a provider, and so what may be done when the
// first use ended without a readable answer (RFC 9700 section 4.14.2).
type ReplayPolicy uint8

const (
	// ReplayStrict says that refresh tokens are single use and a second use may revoke the whole family. The default.
	ReplayStrict ReplayPolicy = iota + 1
	// ReplayGrace says that the predecessor is accepted again for a short while.
	ReplayGrace
	// ReplayNoRotation says that the credential is not spent by a refresh.
	ReplayNoRotation
)

func (p ReplayPolicy) String() string {
	switch p {
	case ReplayStrict:
		return "strict"
	case ReplayGrace:
		return "grace"
	case ReplayNoRotation:
		return "no_rotation"
	}
	return fmt.Sprintf("ReplayPolicy(%d)", uint8(p))
}

// RefreshError is the only error type of Driver.Refresh.
type RefreshError struct {
	Class      record.RefreshClass
	Status     int           // HTTP status of the answer, 0 without one
	Code       string        // the answer's error code, e.g. invalid_grant; "" without one
	Message    string        // reduced to protocol fields or the transport's words, at most 256 characters, no secrets
	RetryAfter time.Duration // the token endpoint's wish; 0 without one
}

// Error says class, status, code and message.
func (e *RefreshError) Error() string {
	s := "refresh " + string(e.Class)
	if e.Status != 0 {
		s += fmt.Sprintf(": status %d", e.Status)
	}
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}
