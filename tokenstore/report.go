package tokenstore

import (
	"context"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// Decision is what follows from an answer.
type Decision struct {
	Action  Action
	Verdict verdict.Verdict
	Trail   *Trail           // with Retry: to be given to the request's next Pick and Report
	Refusal *verdict.Refusal // with Refuse
	Waited  time.Duration
}

// Report tells the store how an attempt was answered and gets what to do. It returns at once unless the token was
// refused: then it waits for a refresh, bounded by the route's refresh_wait and what is left of recovery_timeout; h is
// told before. The error is the context's.
func (s *Store) Report(ctx context.Context, p Pick, resp verdict.Response, trail *Trail, h Holder) (Decision, error) {
	v := s.driver(p).Classify(resp)
	if v.NeedBody && resp.Peekable && !resp.BodyRead {
		return Decision{Action: Peek, Verdict: v}, nil
	}
	if v.Class == verdict.ClassOK {
		s.accepted(p, resp, trail)
		p.upstream.Reached()
		return Decision{Action: Pass, Verdict: v}, nil
	}
	v.Code, v.Message = p.withoutToken(v.Code), p.withoutToken(v.Message)
	now := time.Now()
	sit := s.note(p, v, resp, trail, now)
	s.withheld(p, v, sit)
	left := budget{attempts: p.route.Attempts - trail.Attempts() - 1, time: p.route.RecoveryTimeout}
	if trail != nil {
		left.time -= now.Sub(trail.Started())
	}
	next := decide(v, p.route.RouteConfig, sit, left)
	switch next {
	case stepPass:
		return Decision{Action: Pass, Verdict: v}, nil
	case stepGuilty:
		s.guilty.Note(p.fault(), now)
		s.acquit(p, v, trail)
		return Decision{Action: Pass, Verdict: v}, nil
	case stepAgain, stepRefresh, stepElsewhere, stepGiveUp, stepTooLate:
	}
	attempt := selection.Attempt{Account: p.Account, Upstream: p.Upstream, Generation: p.Generation, Class: v.Class}
	trail = trail.Extend(attempt, sit, resp.Status, v.Message, now)
	d := Decision{Verdict: v, Trail: trail}
	a := s.keeper.Account(p.Account)
	switch {
	case next == stepTooLate && a != nil: // for those who come after
		s.refreshRefused(a, p.Generation)
	case next == stepAgain:
		trail.Prefer(p.Account)
	case next == stepRefresh && a != nil:
		if err := s.recover(ctx, a, p, &d, min(p.route.RefreshWait, left.time), h); err != nil {
			return Decision{}, err
		}
		d.Waited = time.Since(now)
	}
	if next == stepGiveUp || next == stepTooLate {
		return s.final(d, p, trail, sit, resp.Status, "attempts or time are used up"), nil
	}
	if _, other, _ := p.route.Choose(time.Now().UnixNano(), p.tenant, trail, p.seat); other == nil {
		if v.Class.Ours() && !p.route.PassAuthFailure {
			d.Refusal = s.full(p.route, p.tenant, trail, time.Now())
		}
		return s.final(d, p, trail, sit, resp.Status, "no account is left to try"), nil
	}
	d.Action = Retry
	s.decided(p, d)
	return d, nil
}

// recover refreshes a refused token while its answer is held.
func (s *Store) recover(
	ctx context.Context, a *rotation.Account, p Pick, d *Decision, limit time.Duration, h Holder,
) error {
	if h != nil {
		if err := h.Hold(limit); err != nil {
			return err
		}
	}
	s.tokenExpired(a, p.who()...)
	f := s.keeper.Join(a, p.Generation, record.TriggerResponse)
	ended := f.Wait(ctx, limit)
	if ctx.Err() != nil {
		return context.Cause(ctx) // the client left; the refresh goes on
	}
	d.Trail.NoteRefresh(p.Account, !ended || f.Result().Class != record.RefreshPermanent)
	if ended && f.Result().Outcome != rotation.Failed && f.Result().Outcome != rotation.Skipped {
		d.Trail.Prefer(p.Account)
	}
	return nil
}

// withheld counts refreshes that were not made because an answer had cost the account one just before.
func (s *Store) withheld(p Pick, v verdict.Verdict, sit selection.Situation) {
	if v.Class == verdict.ClassTokenRejected && sit.Withheld && !sit.Newer && !sit.Static && !sit.Dear {
		s.metrics.withheld.WithLabelValues(p.Provider).Inc()
	}
}

// final ends a recovery that nobody is left to continue.
func (s *Store) final(d Decision, p Pick, trail *Trail, sit selection.Situation, status int, why string) Decision {
	d.Action, d.Trail = Pass, nil
	switch conclude(d.Verdict, p.route.RouteConfig, sit, d.Refusal != nil) {
	case endPass:
	case endGuilty:
		s.guilty.Note(p.fault(), time.Now())
		s.acquit(p, d.Verdict, trail)
	case endKnown:
		s.acquit(p, d.Verdict, trail)
	case endFull:
		d.Action = Refuse
	case endUnreachable:
		d.Action, d.Refusal = Refuse, s.unreachable(p.upstream)
	case endCredentials:
		d.Action, d.Refusal = Refuse, s.credentialsRefused(s.driver(p), status, d.Verdict.Message, why)
	}
	s.decided(p, d)
	return d
}

// withoutToken masks what a provider's words echo of the token that the attempt carried.
func (p Pick) withoutToken(words string) string {
	for _, h := range p.Headers {
		words = record.RedactCut(words, h.Value[strings.LastIndexByte(h.Value, ' ')+1:]) // behind the scheme
	}
	return words
}
