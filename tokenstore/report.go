package tokenstore

import (
	"context"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
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
	v := p.upstream.pool.driver.Classify(resp)
	if v.NeedBody && resp.Peekable && !resp.BodyRead {
		return Decision{Action: Peek, Verdict: v}, nil
	}
	if v.Class == verdict.ClassOK {
		s.accepted(p, resp, trail)
		p.upstream.reached()
		return Decision{Action: Pass, Verdict: v}, nil
	}
	v.Code, v.Message = p.withoutToken(v.Code), p.withoutToken(v.Message)
	now := time.Now()
	sit := s.note(p, v, resp, trail, now)
	next := decide(v, p.route.RouteConfig, sit)
	switch next {
	case stepPass:
		return Decision{Action: Pass, Verdict: v}, nil
	case stepGuilty:
		s.faults.note(p.fault(), now)
		s.acquit(p, v, trail)
		return Decision{Action: Pass, Verdict: v}, nil
	case stepAgain, stepRefresh, stepElsewhere:
	}
	trail = extend(trail, p, v, resp.Status, sit, now)
	d := Decision{Verdict: v, Trail: trail}
	left := p.route.RecoveryTimeout - now.Sub(trail.started)
	s.withheld(p, v, sit)
	switch {
	case len(trail.tried) >= p.route.Attempts || left <= 0:
		if next == stepRefresh { // for those who come after
			s.refreshRefused(p.account, p.Generation)
		}
		return s.final(d, p, trail, sit, resp.Status, "attempts or time are used up"), nil
	case next == stepAgain:
		trail.prefer = p.Account
	case next == stepRefresh:
		limit := min(p.route.RefreshWait, left)
		if h != nil {
			if err := h.Hold(limit); err != nil {
				return Decision{}, err
			}
		}
		s.tokenExpired(p.account, p.who()...)
		f := s.join(p.account, p.Generation, record.TriggerResponse)
		ended := f.wait(ctx, limit)
		d.Waited = time.Since(now)
		if ctx.Err() != nil {
			return Decision{}, context.Cause(ctx) // the client left; the refresh goes on
		}
		trail.refreshed = append(trail.refreshed, p.Account)
		trail.dear = trail.dear || !ended || f.result.Class != record.RefreshPermanent
		if ended && f.result.Outcome != Failed && f.result.Outcome != Skipped {
			trail.prefer = p.Account
		}
	}
	if _, a, _ := p.route.choose(time.Now().UnixNano(), p.tenant, trail, p.account); a == nil {
		if v.Class.Ours() && !p.route.PassAuthFailure {
			d.Refusal = s.full(p.route, p.tenant, trail, time.Now())
		}
		return s.final(d, p, trail, sit, resp.Status, "no account is left to try"), nil
	}
	d.Action = Retry
	s.decided(p, d)
	return d, nil
}

// withheld counts refreshes that were not made because an answer had cost the account one just before.
func (s *Store) withheld(p Pick, v verdict.Verdict, sit situation) {
	if v.Class == verdict.ClassTokenRejected && sit.withheld && !sit.newer && !sit.static && !sit.dear {
		s.metrics.withheld.WithLabelValues(p.Provider).Inc()
	}
}

// final ends a recovery that nobody is left to continue: a refusal that the client would take for its own key's becomes
// ours, and so does the proxy's bare text when no provider was reached. Everything else goes through as the provider
// gave it, the answer to a guilty request too.
func (s *Store) final(d Decision, p Pick, trail *Trail, sit situation, status int, why string) Decision {
	d.Action, d.Trail = Pass, nil
	now := time.Now()
	switch c := d.Verdict.Class; {
	case d.Refusal != nil:
		d.Action = Refuse
	case c == verdict.ClassTokenRejected && sit.twice:
		s.faults.note(p.fault(), now)
		s.acquit(p, d.Verdict, trail)
	case c == verdict.ClassTokenRejected && sit.known:
		s.acquit(p, d.Verdict, trail)
	case c == verdict.ClassUnreachable:
		d.Action = Refuse
		d.Refusal = s.unreachable(p.route, p.upstream)
	case c.Ours() && !p.route.PassAuthFailure:
		d.Action = Refuse
		d.Refusal = s.credentialsRefused(p.route, p.upstream.pool.driver, status, d.Verdict.Message, why)
	}
	s.decided(p, d)
	return d
}

// extend adds an answer to the trail, which it begins if there is none.
func extend(t *Trail, p Pick, v verdict.Verdict, status int, sit situation, now time.Time) *Trail {
	if t == nil {
		t = &Trail{started: now}
	}
	t.prefer = ""
	t.tried = append(t.tried, tried{account: p.Account, upstream: p.Upstream, generation: p.Generation, class: v.Class, fresh: sit.refreshed || sit.renewed, healthy: sit.healthy})
	if v.Class == verdict.ClassUnreachable {
		t.upstreams = append(t.upstreams, p.Upstream)
	}
	if v.Class.Ours() {
		t.status, t.message = status, v.Message
	}
	return t
}

// withoutToken masks what a provider's words echo of the token that the attempt carried.
func (p Pick) withoutToken(words string) string {
	for _, h := range p.Headers {
		words = record.RedactCut(words, h.Value[strings.LastIndexByte(h.Value, ' ')+1:]) // behind the scheme
	}
	return words
}
