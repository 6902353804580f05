package tokenstore

import (
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// accepted takes an accepted token as evidence. Cheap when nothing is on file.
func (s *Store) accepted(p Pick, resp verdict.Response, trail *Trail) {
	released := p.seat.Accepted(p.Generation, p.at, func() bool { return s.driver(p).Room(resp.Header) })
	if released {
		s.eventOf("cooldown_released", p)
	}
	if s.guilty.Any() { // a good request of that shape: the shape is not what is wrong
		s.guilty.Forget(p.fault(), time.Now())
	}
	if trail != nil {
		s.blame(p, trail)
	}
}

// blame looks back from an accepted attempt: a refresh in this request has proved right, and an account that refused
// this very request was to blame, not the request.
func (s *Store) blame(p Pick, trail *Trail) {
	if a := s.keeper.Account(p.Account); a != nil && trail.HasRefreshed(p.Account) {
		s.keeper.Proved(a)
	}
	for _, e := range trail.Tried() {
		a := s.keeper.Account(e.Account)
		if a == nil || e.Account == p.Account ||
			e.Class != verdict.ClassTokenRejected && e.Class != verdict.ClassAccountBlocked {
			continue
		}
		seatOf(a).Implicate(e, time.Now())
		if e.Class == verdict.ClassTokenRejected && !trail.HasRefreshed(e.Account) {
			s.refreshRefused(a, e.Generation)
		}
	}
}

// refreshRefused refreshes a refused token that no request waits for, if it may be refreshed now.
func (s *Store) refreshRefused(a *rotation.Account, gen record.Generation) {
	if seatOf(a).MayRespond(time.Now()) {
		s.keeper.Join(a, gen, record.TriggerResponse)
	}
}

// note records what an answer says about account and upstream, whatever becomes of the request, and returns what is
// known of the account. Evidence about an older generation speaks against nobody.
func (s *Store) note(
	p Pick, v verdict.Verdict, resp verdict.Response, trail *Trail, now time.Time,
) selection.Situation {
	s.classified(p, v, resp)
	if v.Class == verdict.ClassUnreachable {
		p.upstream.Unreachable(now)
		return selection.Situation{}
	}
	if !resp.Local {
		p.upstream.Reached()
	}
	switch v.Class {
	case verdict.ClassTokenRejected, verdict.ClassBilling, verdict.ClassAccountBlocked:
		return s.accuse(p, v.Class, trail, now)
	case verdict.ClassRateLimited:
		if v.Scope == verdict.ScopeAccount || v.Scope == verdict.ScopeOrganisation {
			s.cool(p, v, now)
		}
	case verdict.ClassOK,
		verdict.ClassForbidden,
		verdict.ClassOverloaded,
		verdict.ClassProviderFault,
		verdict.ClassRequestFault,
		verdict.ClassMisconfigured,
		verdict.ClassEgress,
		verdict.ClassUnreachable:
	}
	return selection.Situation{}
}

// accuse takes a refusal as evidence, unless the request is guilty, and says what is known of the account.
func (s *Store) accuse(p Pick, class verdict.Class, trail *Trail, now time.Time) selection.Situation {
	sit, bench := p.seat.Judge(selection.Refused{
		Class: class, Generation: p.Generation, Shape: p.shape(), Trail: trail, Known: s.guilty.Of(p.fault(), now),
	}, now)
	a := s.keeper.Account(p.Account)
	if a == nil { // removed meanwhile
		return sit
	}
	sit.Refreshable = seatOf(a).CanRefresh(now)
	if bench != nil {
		s.eventOf("cooldown_set", p, zapDuration("for", time.Duration(bench.Until-now.UnixNano())),
			zap.String("class", class.String()))
	}
	return sit
}

// cool keeps a rate limited account from attempts for a while.
func (s *Store) cool(p Pick, v verdict.Verdict, now time.Time) {
	pause, extended := p.seat.Limited(p.at, v.Wait, v.Scope, now)
	if extended {
		s.eventOf("cooldown_set", p, zapDuration("for", pause), zap.String("class", verdict.ClassRateLimited.String()))
	}
}

// acquit clears the accounts that a guilty request was refused by.
func (s *Store) acquit(p Pick, v verdict.Verdict, trail *Trail) {
	s.metrics.requestFaults.WithLabelValues(p.route.Name).Inc()
	s.faulted(p, v)
	for _, e := range trail.Tried() {
		if a := s.keeper.Account(e.Account); a != nil && e.Class == v.Class {
			seatOf(a).Acquit(v.Class, p.shape())
		}
	}
}
