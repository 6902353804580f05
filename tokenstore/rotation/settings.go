package rotation

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// RenewalConfig says when tokens are renewed.
type RenewalConfig struct {
	Sweep                time.Duration // full check of every account
	Lead                 time.Duration // before expiry; 0: a third of the lifetime, 60 s to 1 h, at most half the lifetime
	Workers              int           // renewals at once
	TokenEndpointTimeout time.Duration // one grant request
	ClaimLease           time.Duration // a claim unchanged for so long is dead; greater than TokenEndpointTimeout
	BackoffMin           time.Duration // between tries of a failing account: first and
	BackoffMax           time.Duration // largest pause, with full jitter
}

// Settings are what a keeper works by.
type Settings struct {
	Redeemers map[string]Redeemer       // by provider name
	Check     func(record.Record) error // why a record cannot be used, a *RecordError; nil: it can
	Renewal   RenewalConfig
	// Journal keeps rotations that the backend has not taken yet; nil: they live in memory only.
	Journal Journal
	// WaitForStore: loading does not fail while the backend is away; the accounts come when it is back.
	WaitForStore bool
	// Holder names this process in claims; unique per process start. "": drawn at random.
	Holder string
	// Random draws from [0,1) for jitter; nil: at random. A simulation replays with its own.
	Random func() float64
}

// Host is whom a keeper works for. Its methods must not block, nor call the keeper.
type Host interface {
	// NewSeat makes the place where a new account's views go.
	NewSeat(a *Account) Seat
	// Moved says that accounts serve others than before, or none.
	Moved()
	// Event tells of something that happened, to an account unless a is nil.
	Event(name string, a *Account, fields ...zap.Field)
	// Adopted says that a record was read or written.
	Adopted(a *Account)
	// Ended says how a refresh ended, as soon as its result is known.
	Ended(a *Account, t record.Trigger, r RefreshResult)
	// Panicked tells of a panic that was caught.
	Panicked(where string, p any, stack []byte)
}

// Seat is where the views of one account go, and where objections to its tokens come from. Its methods are called under
// the account's lock: they must not block, nor call the keeper.
type Seat interface {
	Objections() Objections
	Pardon(p Pardon, now time.Time)
	Publish(v View, now time.Time)
	// Inherit takes over what an account's earlier seat counted. Nobody uses the new one yet.
	Inherit(earlier Seat)
}

// Counters are what a keeper counts.
type Counters struct {
	Unsaved        prometheus.Gauge         // rotated credentials that are in memory and not yet in the store
	Claims         prometheus.Gauge         // held
	Conflicts      prometheus.Counter       // writes that lost a compare-and-set
	Ambiguous      prometheus.Counter       // refreshes that were sent and got no readable answer
	RefreshSeconds *prometheus.HistogramVec // by provider and result
	StoreOp        func(op string, ok bool, took time.Duration)
}
