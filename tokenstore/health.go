package tokenstore

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

const (
	strikeCooldown = time.Second // rate limited without a reset time: doubles with every strike in a row
	strikeMost     = time.Minute
	probeAfter     = 30 * time.Minute // of a cooldown, whatever the provider said: one attempt looks whether it is over
	probeLease     = time.Minute      // until the next one may, if the first told nothing
	downMost       = 30 * time.Second // unreachable upstream: 1 s, doubling
)

// accepted takes an accepted token as evidence. Cheap when nothing is on file.
func (s *Store) accepted(p Pick, resp Response, trail *Trail) {
	a := p.account
	t := a.token.Load()
	if t != nil && t.generation == p.Generation && !t.accepted.Load() {
		t.accepted.Store(true)
	}
	if p.at-a.acceptedAt.Load() > int64(time.Second) { // seldom, so that busy processors do not fight for it
		a.acceptedAt.Store(p.at)
	}
	if a.troubled.Load() && t != nil && t.generation == p.Generation {
		s.clear(p, resp)
	}
	if s.faults.any.Load() { // a good request of that shape: the shape is not what is wrong
		s.faults.forget(p.fault())
	}
	if trail != nil {
		s.blame(p, trail)
	}
}

// clear ends what an accepted attempt disproves. One that was picked before the refusals came disproves nothing.
func (s *Store) clear(p Pick, resp Response) {
	a := p.account
	a.mu.Lock()
	a.strikes = 0
	if p.at >= a.evidence.since.UnixNano() {
		a.trustLocked()
	}
	cooling := a.coolUntil.Load() != 0
	released := cooling && (p.at > a.cooledAt.UnixNano() || a.driver != nil && a.driver.Room(resp.Header))
	if released {
		a.warmLocked()
	}
	a.troubled.Store(cooling && !released || !a.evidence.since.IsZero())
	a.planLocked(s.cfg.Renewal.Lead)
	a.mu.Unlock()
	s.renewals.wake(a)
	if released {
		s.event("cooldown_released", a, p.who()...)
	}
}

// blame looks back from an accepted attempt: a refresh in this request has proved right, and an account that refused this very
// request was to blame, not the request.
func (s *Store) blame(p Pick, trail *Trail) {
	if trail.hasRefreshed(p.Account) {
		p.account.mu.Lock()
		p.account.respondedAt = time.Time{}
		p.account.planLocked(s.cfg.Renewal.Lead)
		p.account.mu.Unlock()
		s.renewals.wake(p.account)
	}
	for _, e := range trail.tried {
		a := s.account(e.account)
		if a == nil || a == p.account || e.class != ClassTokenRejected && e.class != ClassAccountBlocked {
			continue
		}
		s.suspect(a, e)
		if e.class == ClassTokenRejected && !trail.hasRefreshed(e.account) {
			s.refreshRefused(a, e.generation)
		}
	}
}

// suspect puts an account behind others, healthy or not: it refused what another accepted. That alone benches nobody, unless the
// provider said that the account itself is blocked.
func (s *Store) suspect(a *account, e tried) {
	now := time.Now()
	a.mu.Lock()
	defer s.renewals.wake(a)
	defer a.mu.Unlock()
	t := a.token.Load()
	if t == nil || t.generation != e.generation || a.evidence.class != e.class || a.evidence.since.IsZero() {
		return // replaced or accepted since
	}
	a.evidence.proven = true
	d := a.suspicionOf(e.class, situation{refreshed: t.unproven(), static: a.driver != nil && !a.driver.Refreshable(a.record)}, t, now)
	if d.bench = e.class == ClassAccountBlocked || a.benched(now) != nil; e.class == ClassAccountBlocked {
		d.until = now.Add(blockedFor).UnixNano()
	}
	s.suspectLocked(a, d)
	a.planLocked(s.cfg.Renewal.Lead)
}

// refreshRefused refreshes a refused token that no request waits for, if it may be refreshed now.
func (s *Store) refreshRefused(a *account, gen record.Generation) {
	now := time.Now()
	a.mu.Lock()
	may := a.wakeable(now.UnixNano()) && !now.Before(a.respondedAt.Add(responsePause))
	a.mu.Unlock()
	if may {
		s.join(a, gen, record.TriggerResponse)
	}
}

func (u *upstream) reached() {
	if u.downs.Load() != 0 {
		u.downs.Store(0)
		u.downUntil.Store(0)
	}
}

func (u *upstream) unreachable(now time.Time) {
	if u.downUntil.Load() > now.UnixNano() {
		return // one event, seen by many
	}
	pause := min(time.Second<<min(u.downs.Add(1)-1, 10), downMost)
	u.downUntil.Store(now.Add(pause).UnixNano())
}

// note records what an answer says about account and upstream, whatever becomes of the request, and returns what is known of
// the account. Evidence about an older generation speaks against nobody.
func (s *Store) note(p Pick, v Verdict, resp Response, trail *Trail, now time.Time) situation {
	s.classified(p, v, resp)
	if v.Class == ClassUnreachable {
		p.upstream.unreachable(now)
		return situation{}
	}
	if !resp.Local {
		p.upstream.reached()
	}
	switch v.Class {
	case ClassTokenRejected, ClassBilling, ClassAccountBlocked:
		return s.accuse(p, v.Class, trail, now)
	case ClassRateLimited:
		if (v.Scope == ScopeAccount || v.Scope == ScopeOrganisation) && p.at >= p.account.pardoned.Load() {
			s.cool(p, p.account.rateLimitPause(v.Wait), v.Scope, now)
		}
	case ClassOK, ClassForbidden, ClassOverloaded, ClassProviderFault, ClassRequestFault, ClassMisconfigured, ClassEgress, ClassUnreachable:
	}
	return situation{}
}

func (a *account) rateLimitPause(asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strikes++
	return min(strikeCooldown<<min(a.strikes-1, 10), strikeMost)
}

// cool keeps a rate limited account from attempts for a while. A cooldown is only ever extended: a precise long one is not cut
// by a vague short one. However long the provider says, one attempt looks now and then whether it is over.
func (s *Store) cool(p Pick, pause time.Duration, scope Scope, now time.Time) {
	a := p.account
	until := now.Add(pause)
	a.mu.Lock()
	extended := until.After(a.cooldown.Until)
	if extended {
		a.cooldown = Cooldown{Scope: scope, Until: until, Reason: "rate_limited"}
	}
	if extended || a.coolUntil.Load() <= now.UnixNano() {
		a.cooledAt = now
	}
	a.cooldown.Probe = earlier(a.cooldown.Until, now.Add(probeAfter))
	a.resetAt.Store(a.cooldown.Until.UnixNano())
	a.coolUntil.Store(a.cooldown.Probe.UnixNano())
	a.troubled.Store(true)
	a.mu.Unlock()
	if extended {
		s.event("cooldown_set", a, append(p.who(), zapDuration("for", pause), zapString("class", ClassRateLimited.String()))...)
	}
}

// admit lets an attempt through a cooldown whose time is up: any, if the provider said so; one, if it is only time to look.
func (a *account) admit(now int64) bool {
	c := a.coolUntil.Load()
	if c == 0 || a.resetAt.Load() <= now {
		return true
	}
	return c <= now && a.coolUntil.CompareAndSwap(c, now+int64(probeLease))
}

// warmLocked ends a cooldown.
func (a *account) warmLocked() {
	a.cooldown, a.strikes = Cooldown{}, 0
	a.coolUntil.Store(0)
	a.resetAt.Store(0)
}

// pardonLocked ends what keeps the account from serving: the credential is another, or an operator says so. A token that was
// refused stays so when only the credential behind it is another.
func (a *account) pardonLocked(token bool) {
	a.warmLocked()
	if token || a.evidence.class != ClassTokenRejected {
		a.trustLocked()
	}
	a.respondedAt = time.Time{}
	a.pardoned.Store(time.Now().UnixNano())
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
