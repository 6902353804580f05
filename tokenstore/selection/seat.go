package selection

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// Never is the instant after all others, in Unix nanoseconds.
const Never = math.MaxInt64

// Token is one generation of an account's access token, as attempts carry it. Immutable but for accepted.
type Token struct {
	Generation  record.Generation
	UsableUntil int64            // Unix nanoseconds; Never when endless
	Headers     []verdict.Header // shared and immutable
	RefreshedAt time.Time        // when this process obtained it, so that accepted covers its whole use; zero: it did not
	Given       bool             // no refresh brought it: that its predecessor was accepted says nothing of it

	accepted atomic.Bool // the provider has accepted it once
}

// unproven reports whether the token was refreshed within the last minute and never accepted: if it is refused, another
// refresh will not help, and asking for one on every request would hammer the token endpoint.
func (t *Token) unproven(now time.Time) bool {
	return !t.RefreshedAt.IsZero() && !t.accepted.Load() && now.Sub(t.RefreshedAt) < suspectFor
}

// View is what the credential's side publishes of an account. Immutable.
type View struct {
	Token       *Token    // the one to use; nil: none
	Refreshable int64     // the earliest refresh that a pick may cause, Unix nanoseconds; Never: none
	InFlight    bool      // a refresh is under way, or its save
	Joinable    bool      // one that can be waited for, or followed by another
	Static      bool      // there is nothing to refresh with: a key, or a token that somebody else rotates
	Dead        bool      // only a human can revive the credential
	Responded   time.Time // of the latest refresh that an answer caused and that has not proved right; zero: none
	RestsUntil  time.Time // no answer causes another before
	RPM         int       // limits of the record; 0: none
	Concurrency int
}

// Objections are what a provider has said against a token since it was last accepted.
type Objections struct {
	Generation record.Generation // of the token
	Refused    bool              // a refresh is wanted
	Since      time.Time         // of the earliest refusal of the token; zero: none
	Latest     time.Time
}

// Pardon is how much a change of the record forgives.
type Pardon uint8

// Pardons.
const (
	PardonNothing Pardon = iota
	PardonAccount        // cooldowns and benches; a refused token stays refused
	PardonAll
)

// Seat is what picks read of an account. Safe for concurrent use.
type Seat struct {
	ID record.ID

	tell    func() // see NewSeat
	expired func() // called when a suspicion's time is up

	token atomic.Pointer[Token] // nil: none yet; set by install
	// the token can serve before, Unix nanoseconds; 0: there is none, or it is suspect
	liveUntil atomic.Int64
	// earliest refresh for a pick that finds no living token; Never: not refreshable
	refreshableFrom atomic.Int64
	// not selectable before, Unix nanoseconds; then one attempt probes; 0: no cooldown
	coolUntil  atomic.Int64
	resetAt    atomic.Int64              // when the cooldown ends by the provider's word, Unix nanoseconds
	inflight   atomic.Int64              // attempts between pick and release
	limits     atomic.Pointer[limiter]   // nil: none
	suspicion  atomic.Pointer[Suspicion] // why the token serves only when no better one can; nil: no reason
	pardonedAt atomic.Int64              // older evidence of a limit is void; Unix nanoseconds
	// strikes, evidence or a cooldown are on file: the next success looks at them
	troubled atomic.Bool
	// when the latest accepted attempt was picked, to about a second; Unix nanoseconds
	acceptedAt atomic.Int64
	requests   atomic.Uint64
	failovers  atomic.Uint64

	health health
}

// NewSeat returns an empty seat. changed is called whenever answers, or their age, have changed what is to be thought
// of the account's token, so that its refreshes are planned anew. No lock of the seat is held then.
func NewSeat(id record.ID, changed func()) *Seat {
	s := &Seat{ID: id, tell: changed}
	s.expired = func() { s.Forget(time.Now()) }
	s.refreshableFrom.Store(Never)
	return s
}

// Generation is that of the current token; 0: there is none.
func (s *Seat) Generation() record.Generation {
	if t := s.token.Load(); t != nil {
		return t.Generation
	}
	return 0
}

// Living reports whether the account can serve an attempt at once. now is in Unix nanoseconds, here and below.
func (s *Seat) Living(now int64) bool {
	return now < s.liveUntil.Load() && s.coolUntil.Load() <= now
}

// Refreshable reports whether the account could serve an attempt after a refresh that may start now.
func (s *Seat) Refreshable(now int64) bool {
	return s.refreshableFrom.Load() <= now && s.coolUntil.Load() <= now
}

// HasToken reports whether the token has not ended, suspect or not.
func (s *Seat) HasToken(now int64) bool {
	t := s.token.Load()
	return t != nil && now < t.UsableUntil
}

// alive reports whether the token lives. A suspect one does: it serves when no better one can.
func (s *Seat) alive(now int64) bool {
	d := s.suspicion.Load()
	return s.HasToken(now) && (d == nil || !d.dead)
}

// Take makes the account serve one attempt, and returns its token. False: it is gone or taken since the choice.
func (s *Seat) Take(now int64) (*Token, bool) {
	t := s.token.Load()
	if t == nil || !s.admit(now) || !s.reserve(now) {
		return nil, false
	}
	s.requests.Add(1)
	return t, true
}

// Release ends an attempt's share of the load and its place in the limit of concurrency.
func (s *Seat) Release() { s.inflight.Add(-1) }

// Requests is how many attempts the account was picked for.
func (s *Seat) Requests() uint64 { return s.requests.Load() }

// Failovers is how many attempts were moved away from the account.
func (s *Seat) Failovers() uint64 { return s.failovers.Load() }

// NoteFailover counts an attempt that was moved away from the account.
func (s *Seat) NoteFailover() { s.failovers.Add(1) }

// InheritLimits takes over what another seat's limits counted. s is not in use yet.
func (s *Seat) InheritLimits(old *Seat) { s.limits.Store(old.limits.Load()) }

// admit lets an attempt through a cooldown whose time is up: any, if the provider said so; one, if it is only time to
// look.
func (s *Seat) admit(now int64) bool {
	c := s.coolUntil.Load()
	if c == 0 || s.resetAt.Load() <= now {
		return true
	}
	return c <= now && s.coolUntil.CompareAndSwap(c, now+int64(probeLease))
}

// spare reports whether a suspect token may serve an attempt that finds none of a lower rank.
func (s *Seat) spare(now int64, d *Suspicion, rank int) bool {
	return d.rank() == rank && d.rest <= now && s.HasToken(now) && s.coolUntil.Load() <= now
}

// askable reports whether the account needs a refresh before it can serve: it has no living token, or a refused one.
func (s *Seat) askable(now int64) bool {
	d := s.suspicion.Load()
	return d == nil || d.Ask || !s.HasToken(now)
}

// eligible reports whether nothing but its limits keeps the account from an attempt.
func (s *Seat) eligible(now int64, trail *Trail) bool {
	usable := s.Living(now)
	if d := s.suspicion.Load(); d != nil {
		usable = s.spare(now, d, d.rank())
	}
	return usable && trail.admits(s.ID, s.Generation()) || s.Refreshable(now) && trail.fresh(s.ID)
}

// Publish takes over what follows from the credential's life. A pick that runs meanwhile reads refreshableFrom first
// and liveUntil then, so the one is written last: otherwise it would take the account for dead.
func (s *Seat) Publish(v View, now time.Time) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.Token != s.token.Load() {
		s.install(v.Token)
	}
	h.view = v
	s.convict(now)
	if !s.limits.Load().is(v.RPM, v.Concurrency) {
		s.limits.Store(newLimiter(v.RPM, v.Concurrency, s.limits.Load()))
	}
	s.refreshableFrom.Store(v.Refreshable)
}

// install makes t the token that picks use; nil: none. What was held against its predecessor is history.
func (s *Seat) install(t *Token) {
	h := &s.health
	s.token.Store(t)
	h.refused = false
	if t != nil && t.Given {
		s.acceptedAt.Store(0)
	}
	if h.evidence.class == verdict.ClassTokenRejected {
		h.evidence = evidence{}
	}
	d := s.suspicion.Load()
	if d != nil && d.Class == verdict.ClassTokenRejected {
		s.suspicion.Store(nil)
		d = nil
	}
	if t == nil || d != nil {
		s.liveUntil.Store(0)
		return
	}
	s.liveUntil.Store(t.UsableUntil)
}

// Objections are what the provider has said against the current token.
func (s *Seat) Objections() Objections {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	o := Objections{Generation: s.Generation(), Refused: h.refused}
	if h.evidence.class == verdict.ClassTokenRejected {
		o.Since, o.Latest = h.evidence.since, h.evidence.latest
	}
	return o
}

// Pardon ends what keeps the account from serving: the credential is another, or an operator says so.
func (s *Seat) Pardon(p Pardon, now time.Time) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	s.warm()
	if p == PardonAll || h.evidence.class != verdict.ClassTokenRejected {
		s.trust()
	}
	s.pardonedAt.Store(now.UnixNano())
}
