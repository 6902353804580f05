package tokenstore

import (
	"sync/atomic"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// seat is what picks read of an account: atomics, and behind them the health that they follow from. It knows no
// credential.
type seat struct {
	id      record.ID
	expired func() // called when a suspicion's time is up

	token           atomic.Pointer[token]     // nil: none yet; set by install
	liveUntil       atomic.Int64              // the token can serve before, Unix nanoseconds; 0: there is none, or it is suspect
	refreshableFrom atomic.Int64              // earliest refresh for a pick that finds no living token; never: not refreshable
	coolUntil       atomic.Int64              // not selectable before, Unix nanoseconds; then one attempt probes; 0: no cooldown
	resetAt         atomic.Int64              // when the cooldown ends by the provider's word, Unix nanoseconds
	inflight        atomic.Int64              // attempts between pick and release
	limits          atomic.Pointer[limiter]   // nil: none
	suspicion       atomic.Pointer[suspicion] // why the token serves only when no better one can; nil: no reason
	pardonedAt      atomic.Int64              // when an operator ended its limits: older evidence of one is void; Unix nanoseconds
	troubled        atomic.Bool               // strikes, evidence or a cooldown are on file: the next success looks at them
	acceptedAt      atomic.Int64              // when the latest accepted attempt was picked, to about a second; Unix nanoseconds
	requests        atomic.Uint64
	failovers       atomic.Uint64

	health health
}

// living reports whether the account can serve an attempt at once.
func (a *seat) living(now int64) bool {
	return now < a.liveUntil.Load() && a.coolUntil.Load() <= now
}

// refreshable reports whether the account could serve an attempt after a refresh that may start now.
func (a *seat) refreshable(now int64) bool {
	return a.refreshableFrom.Load() <= now && a.coolUntil.Load() <= now
}

// alive reports whether the token lives. A suspect one does: it serves when no better one can.
func (a *seat) alive(now int64) bool {
	t, d := a.token.Load(), a.suspicion.Load()
	return t != nil && now < t.usableUntil && (d == nil || !d.dead)
}

func (a *seat) generation() record.Generation {
	if t := a.token.Load(); t != nil {
		return t.generation
	}
	return 0
}

// publish takes over what follows from the credential's life. A pick that runs meanwhile reads refreshableFrom first and
// liveUntil then, so the one is written last: otherwise it would take the account for dead.
func (a *seat) publish(v view, now time.Time) {
	h := &a.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.token != a.token.Load() {
		a.install(v.token)
	}
	h.view = v
	a.convict(now)
	if !a.limits.Load().is(v.rpm, v.concurrency) {
		a.limits.Store(newLimiter(v.rpm, v.concurrency, a.limits.Load()))
	}
	a.refreshableFrom.Store(v.refreshable)
}

// install makes t the token that picks use; nil: none. What was held against its predecessor is history.
func (a *seat) install(t *token) {
	h := &a.health
	a.token.Store(t)
	h.refused = false
	if t != nil && t.given {
		a.acceptedAt.Store(0)
	}
	if h.evidence.class == verdict.ClassTokenRejected {
		h.evidence = evidence{}
	}
	d := a.suspicion.Load()
	if d != nil && d.class == verdict.ClassTokenRejected {
		a.suspicion.Store(nil)
		d = nil
	}
	if t == nil || d != nil {
		a.liveUntil.Store(0)
		return
	}
	a.liveUntil.Store(t.usableUntil)
}

// objections are what the provider has said against the current token.
func (a *seat) objections() objections {
	h := &a.health
	h.mu.Lock()
	defer h.mu.Unlock()
	o := objections{generation: a.generation(), refused: h.refused}
	if h.evidence.class == verdict.ClassTokenRejected {
		o.since, o.latest = h.evidence.since, h.evidence.latest
	}
	return o
}

// pardon ends what keeps the account from serving: the credential is another, or an operator says so.
func (a *seat) pardon(p pardon, now time.Time) {
	h := &a.health
	h.mu.Lock()
	defer h.mu.Unlock()
	a.warm()
	if p == pardonAll || h.evidence.class != verdict.ClassTokenRejected {
		a.trust()
	}
	a.pardonedAt.Store(now.UnixNano())
}

// admit lets an attempt through a cooldown whose time is up: any, if the provider said so; one, if it is only time to look.
func (a *seat) admit(now int64) bool {
	c := a.coolUntil.Load()
	if c == 0 || a.resetAt.Load() <= now {
		return true
	}
	return c <= now && a.coolUntil.CompareAndSwap(c, now+int64(probeLease))
}

// spare reports whether a suspect token may serve an attempt that finds none of a lower rank.
func (a *seat) spare(now int64, d *suspicion, rank int) bool {
	t := a.token.Load()
	return d.rank() == rank && d.rest <= now && t != nil && now < t.usableUntil && a.coolUntil.Load() <= now
}

// askable reports whether the account needs a refresh before it can serve: it has no living token, or a refused one.
func (a *seat) askable(now int64) bool {
	d, t := a.suspicion.Load(), a.token.Load()
	return d == nil || d.ask || t == nil || now >= t.usableUntil
}

// benched returns the suspicion that keeps the account from serving while others can; nil: none.
func (a *seat) benched(now time.Time) *suspicion {
	if d := a.suspicion.Load(); d != nil && d.bench && d.until > now.UnixNano() {
		return d
	}
	return nil
}

// eligible reports whether nothing but its limits keeps the account from an attempt.
func (a *seat) eligible(now int64, trail *Trail) bool {
	usable := a.living(now)
	if d := a.suspicion.Load(); d != nil {
		usable = a.spare(now, d, d.rank())
	}
	return usable && trail.admits(a.id, a.generation()) || a.refreshable(now) && trail.fresh(a.id)
}
