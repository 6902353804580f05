package tokenstore

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// downMost is the longest that an unreachable upstream is left out; the first time 1 s, then doubling.
const downMost = 30 * time.Second

// accepted takes an accepted token as evidence. Cheap when nothing is on file.
func (s *Store) accepted(p Pick, resp verdict.Response, trail *Trail) {
	a := p.account
	t := a.token.Load()
	if t != nil && t.generation == p.Generation && !t.accepted.Load() {
		t.accepted.Store(true)
	}
	if p.at-a.acceptedAt.Load() > int64(time.Second) { // seldom, so that busy processors do not fight for it
		a.acceptedAt.Store(p.at)
	}
	if a.troubled.Load() && t != nil && t.generation == p.Generation {
		room, released := p.upstream.pool.driver.Room(resp.Header), false
		s.weigh(a, func(h *seat, _ time.Time) { released = h.succeeded(p.at, room) })
		if released {
			s.event("cooldown_released", a, p.who()...)
		}
	}
	if s.faults.any.Load() { // a good request of that shape: the shape is not what is wrong
		s.faults.forget(p.fault())
	}
	if trail != nil {
		s.blame(p, trail)
	}
}

// blame looks back from an accepted attempt: a refresh in this request has proved right, and an account that refused this
// very request was to blame, not the request.
func (s *Store) blame(p Pick, trail *Trail) {
	if trail.hasRefreshed(p.Account) {
		s.change(p.account, func(l *lifecycle, _ time.Time) { l.respondedAt = time.Time{} })
	}
	for _, e := range trail.tried {
		a := s.account(e.account)
		if a == nil || a == p.account || e.class != verdict.ClassTokenRejected && e.class != verdict.ClassAccountBlocked {
			continue
		}
		s.weigh(a, func(h *seat, now time.Time) { h.implicate(e, now) })
		if e.class == verdict.ClassTokenRejected && !trail.hasRefreshed(e.account) {
			s.refreshRefused(a, e.generation)
		}
	}
}

// refreshRefused refreshes a refused token that no request waits for, if it may be refreshed now.
func (s *Store) refreshRefused(a *account, gen record.Generation) {
	if a.mayRespond(time.Now()) {
		s.join(a, gen, record.TriggerResponse)
	}
}

// note records what an answer says about account and upstream, whatever becomes of the request, and returns what is known of
// the account. Evidence about an older generation speaks against nobody.
func (s *Store) note(p Pick, v verdict.Verdict, resp verdict.Response, trail *Trail, now time.Time) situation {
	s.classified(p, v, resp)
	if v.Class == verdict.ClassUnreachable {
		p.upstream.unreachable(now)
		return situation{}
	}
	if !resp.Local {
		p.upstream.reached()
	}
	switch v.Class {
	case verdict.ClassTokenRejected, verdict.ClassBilling, verdict.ClassAccountBlocked:
		return s.accuse(p, v.Class, trail, now)
	case verdict.ClassRateLimited:
		if (v.Scope == verdict.ScopeAccount || v.Scope == verdict.ScopeOrganisation) && p.at >= p.account.pardonedAt.Load() {
			s.cool(p, v)
		}
	case verdict.ClassOK, verdict.ClassForbidden, verdict.ClassOverloaded, verdict.ClassProviderFault, verdict.ClassRequestFault, verdict.ClassMisconfigured, verdict.ClassEgress, verdict.ClassUnreachable:
	}
	return situation{}
}

// accuse takes a refusal as evidence, unless the request is guilty, and says what is known of the account.
func (s *Store) accuse(p Pick, class verdict.Class, trail *Trail, now time.Time) (sit situation) {
	a := p.account
	recent, known := s.faults.within(time.Minute, p.fault(), now), s.faults.within(faultsRemember, p.fault(), now)
	var was, is *suspicion
	s.weigh(a, func(h *seat, now time.Time) {
		was = h.benched(now)
		sit = h.judge(p, class, trail, recent, known, now)
		is = h.benched(now)
	})
	sit.refreshable = a.flying() || a.refreshable(now.UnixNano())
	if is != nil && was == nil {
		s.event("cooldown_set", a, append(p.who(), zapDuration("for", time.Duration(is.until-now.UnixNano())), zapString("class", class.String()))...)
	}
	return sit
}

// cool keeps a rate limited account from attempts for a while.
func (s *Store) cool(p Pick, v verdict.Verdict) {
	var pause time.Duration
	var extended bool
	s.weigh(p.account, func(h *seat, now time.Time) { pause, extended = h.limited(v.Wait, v.Scope, now) })
	if extended {
		s.event("cooldown_set", p.account, append(p.who(), zapDuration("for", pause), zapString("class", verdict.ClassRateLimited.String()))...)
	}
}

// acquit clears the accounts that a guilty request was refused by.
func (s *Store) acquit(p Pick, v verdict.Verdict, trail *Trail) {
	s.metrics.requestFaults.WithLabelValues(p.route.name).Inc()
	s.faulted(p, v)
	if trail == nil {
		return
	}
	shape := p.shape()
	for _, e := range trail.tried {
		if a := s.account(e.account); a != nil && e.class == v.Class {
			s.weigh(a, func(h *seat, _ time.Time) { h.acquit(v.Class, shape) })
		}
	}
}
