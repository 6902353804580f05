package tokenstore

import (
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// nobody explains why no account can serve a route's attempt.
func (s *Store) nobody(r *route, tenant string, trail *Trail, now time.Time) *verdict.Refusal {
	if ref := s.full(r, tenant, trail, now); ref != nil {
		return ref
	}
	if trail != nil && trail.status != 0 {
		return s.credentialsRefused(r, r.upstreams[0].pool.driver, trail.status, trail.message, "no account is left to try")
	}
	var seen, cooling int
	var earliest time.Time
	var retry time.Duration
	for _, u := range r.upstreams {
		seg := (*u.pool.tenants.Load())[tenant]
		if seg == nil {
			continue
		}
		for _, a := range seg.members {
			seen++
			if c := a.cooling(now); c != nil {
				if cooling++; earliest.IsZero() || c.Probe.Before(earliest) {
					earliest = c.Probe
				}
			}
			l := a.look()
			if wait := l.retry.at.Sub(now); !l.dead() && wait > 0 && (retry == 0 || wait < retry) { // a dead one needs a human
				retry = wait
			}
		}
	}
	switch {
	case cooling > 0:
		return s.refuse(r, verdict.ReasonAllCooling, fmt.Sprintf("all accounts that could serve route %s are rate limited: %d of %d wait for their reset", r.name, cooling, seen), earliest.Sub(now))
	case seen == 0 && tenant != "":
		return s.refuse(r, verdict.ReasonTenantDenied, "no account serves this tenant on route "+r.name+": add one with this tenant", 0)
	case seen == 0 && s.counted() > 0: // they are paused, or their records cannot be used
		return s.refuse(r, verdict.ReasonNoHealthyAccount, "no account can serve route "+r.name+": see tokenward status", 0)
	case seen == 0:
		return s.refuse(r, verdict.ReasonNoHealthyAccount, "route "+r.name+" has no account: add one with tokenward accounts add", 0)
	}
	return s.refuse(r, verdict.ReasonNoHealthyAccount, fmt.Sprintf("none of the %d accounts of route %s can serve: see tokenward status", seen, r.name), retry)
}

// full is the answer when accounts could serve but for their limits; nil: limits are not what is in the way. An account
// that has room again by now is counted too: it had none when the attempt asked.
func (s *Store) full(r *route, tenant string, trail *Trail, now time.Time) *verdict.Refusal {
	var full int
	var wait time.Duration
	for _, u := range r.upstreams {
		seg := (*u.pool.tenants.Load())[tenant]
		if seg == nil || trail.unreachable(u.name) {
			continue
		}
		for _, a := range seg.members {
			l := a.limits.Load()
			if l == nil || !a.eligible(now.UnixNano(), trail) {
				continue
			}
			w := max(time.Duration(l.wait(now.UnixNano())), time.Second) // when attempts under way end, nobody knows
			if full++; full == 1 || w < wait {
				wait = w
			}
		}
	}
	if full == 0 {
		return nil
	}
	return s.refuse(r, verdict.ReasonAllCooling, fmt.Sprintf("all accounts that could serve route %s are at their limits (rpm or concurrency of their records), %d in all: try again later, raise the limits or add accounts", r.name, full), wait)
}

// refuse makes an answer of our own, in the dialect of the route's first provider.
func (s *Store) refuse(r *route, reason verdict.Reason, message string, retryAfter time.Duration) *verdict.Refusal {
	ref := &verdict.Refusal{Status: 503, Reason: reason, Message: message, RetryAfter: retryAfter}
	if reason == verdict.ReasonAllCooling {
		ref.Status = 429
	}
	d := s.fallback
	if r != nil {
		d = r.upstreams[0].pool.driver
	}
	return shaped(ref, d)
}

func (s *Store) credentialsRefused(r *route, d Driver, status int, words, why string) *verdict.Refusal {
	ref := &verdict.Refusal{
		Status: 503, Reason: verdict.ReasonCredentialsRefused, ProviderStatus: status, ProviderMessage: words,
		Message: "the provider refused the gateway's credentials and " + why + "; your own key is fine, tell whoever runs the gateway",
	}
	return shaped(ref, d)
}

// unreachable says nothing of addresses or certificates, which are not the client's business: Envoy's log of the attempt
// has them.
func (s *Store) unreachable(r *route, u *upstream) *verdict.Refusal {
	ref := &verdict.Refusal{
		Status: 503, Reason: verdict.ReasonUpstreamUnreachable,
		Message: "the gateway could not connect to its upstream " + u.name + " and has no other to try; tell whoever runs the gateway to check the upstream's url, DNS, network and certificate",
	}
	return shaped(ref, u.pool.driver)
}

// shaped is a refusal in a driver's dialect.
func shaped(ref *verdict.Refusal, d Driver) *verdict.Refusal {
	if d != nil {
		ref.ContentType, ref.Body = d.Shape(*ref)
	}
	return ref
}
