package tokenstore

import (
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// nobody explains why no account can serve a route's attempt.
func (s *Store) nobody(r *selection.Route, tenant string, trail *Trail, now time.Time) *verdict.Refusal {
	if ref := s.full(r, tenant, trail, now); ref != nil {
		return ref
	}
	if status, words := trail.Refusal(); status != 0 {
		return s.credentialsRefused(s.dialect(r), status, words, "no account is left to try")
	}
	var seen, cooling int
	var earliest time.Time
	var retry time.Duration
	for _, seat := range r.Members(tenant) {
		seen++
		if c := seat.Cooling(now); c != nil {
			if cooling++; earliest.IsZero() || c.Probe.Before(earliest) {
				earliest = c.Probe
			}
		}
		a := s.keeper.Account(seat.ID)
		if a == nil {
			continue
		}
		if wait := a.RetryAt().Sub(now); wait > 0 && (retry == 0 || wait < retry) {
			retry = wait
		}
	}
	switch {
	case cooling > 0:
		return s.refuse(
			r,
			verdict.ReasonAllCooling,
			fmt.Sprintf("all accounts that could serve route %s are rate limited: %d of %d wait for their reset", r.Name,
				cooling, seen),
			earliest.Sub(now),
		)
	case seen == 0 && tenant != "":
		return s.refuse(r, verdict.ReasonTenantDenied,
			"no account serves this tenant on route "+r.Name+": add one with this tenant", 0)
	case seen == 0 && s.keeper.Count() > 0: // they are paused, or their records cannot be used
		return s.refuse(r, verdict.ReasonNoHealthyAccount, "no account can serve route "+r.Name+": see tokenward status", 0)
	case seen == 0:
		return s.refuse(r, verdict.ReasonNoHealthyAccount,
			"route "+r.Name+" has no account: add one with tokenward accounts add", 0)
	}
	return s.refuse(r, verdict.ReasonNoHealthyAccount,
		fmt.Sprintf("none of the %d accounts of route %s can serve: see tokenward status", seen, r.Name), retry)
}

// full is the answer when accounts could serve but for their limits; nil: limits are not what is in the way.
func (s *Store) full(r *selection.Route, tenant string, trail *Trail, now time.Time) *verdict.Refusal {
	n, wait := r.Full(tenant, trail, now)
	if n == 0 {
		return nil
	}
	return s.refuse(
		r,
		verdict.ReasonAllCooling,
		fmt.Sprintf("all accounts that could serve route %s are at their limits (rpm or concurrency of "+
			"their records), %d in all: try again later, raise the limits or add accounts", r.Name, n),
		wait,
	)
}

// refuse makes an answer of our own, in the dialect of the route's first provider.
func (s *Store) refuse(
	r *selection.Route, reason verdict.Reason, message string, retryAfter time.Duration,
) *verdict.Refusal {
	ref := &verdict.Refusal{Status: 503, Reason: reason, Message: message, RetryAfter: retryAfter}
	if reason == verdict.ReasonAllCooling {
		ref.Status = 429
	}
	return shaped(ref, s.dialect(r))
}

func (s *Store) credentialsRefused(d Driver, status int, words, why string) *verdict.Refusal {
	ref := &verdict.Refusal{
		Status:          503,
		Reason:          verdict.ReasonCredentialsRefused,
		ProviderStatus:  status,
		ProviderMessage: words,
		Message: "the provider refused the gateway's credentials and " + why +
			"; your own key is fine, tell whoever runs the gateway",
	}
	return shaped(ref, d)
}

// unreachable says nothing of addresses or certificates, which are not the client's business: Envoy's log of the
// attempt has them.
func (s *Store) unreachable(u *selection.Upstream) *verdict.Refusal {
	ref := &verdict.Refusal{
		Status: 503,
		Reason: verdict.ReasonUpstreamUnreachable,
		Message: "the gateway could not connect to its upstream " + u.Name + " and has no other to try; " +
			"tell whoever runs the gateway to check the upstream's url, DNS, network and certificate",
	}
	return shaped(ref, s.cfg.Drivers[u.Pool.Provider])
}

// shaped is a refusal in a driver's dialect.
func shaped(ref *verdict.Refusal, d Driver) *verdict.Refusal {
	if d != nil {
		ref.ContentType, ref.Body = d.Shape(*ref)
	}
	return ref
}

// dialect is the driver of a route's first provider; of no route, that of the first route by name.
func (s *Store) dialect(r *selection.Route) Driver {
	if r == nil {
		if r = s.first; r == nil {
			return nil
		}
	}
	return s.cfg.Drivers[r.Upstreams[0].Pool.Provider]
}
