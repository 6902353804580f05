package tokenstore

import (
	"time"
)

const (
	suspectCooldown = time.Minute      // refused right after a refresh
	blockedCooldown = 10 * time.Minute // disabled or without credit: looked at again now and then
	strikeCooldown  = time.Second      // rate limited without a reset time: doubles with every strike in a row
	strikeMost      = time.Minute
	downMost        = 30 * time.Second // unreachable upstream: 1 s, doubling
)

// succeeded takes an accepted token as evidence: strikes and suspicion end. Cheap when there are none.
func (a *account) succeeded(gen Generation) {
	if t := a.token.Load(); t != nil && t.generation == gen && !t.accepted.Load() {
		t.accepted.Store(true)
	}
	if !a.troubled.Load() || gen < a.generation() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strikes, a.suspect = 0, false
	a.troubled.Store(false)
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

// note records what an answer says about account and upstream, whatever becomes of the request. Evidence about an older
// generation benches nobody.
func (s *Store) note(p Pick, v Verdict, resp Response, now time.Time) {
	s.classified(p, v, resp)
	if v.Class == ClassUnreachable {
		p.upstream.unreachable(now)
		return
	}
	if !resp.Local {
		p.upstream.reached()
	}
	a := p.account
	switch v.Class {
	case ClassTokenRejected:
		if !a.static() { // a key may be refused once by mistake, and no refresh would bring it back
			a.refuse(p.Generation)
		}
	case ClassRateLimited:
		if v.Scope == ScopeAccount || v.Scope == ScopeOrganisation {
			s.cool(a, a.rateLimitPause(v.Wait), v.Scope, "rate_limited", now)
		}
	case ClassBilling, ClassAccountBlocked:
		s.cool(a, max(v.Wait, blockedCooldown), v.Scope, v.Class.String(), now)
	case ClassOK, ClassForbidden, ClassOverloaded, ClassProviderFault, ClassRequestFault, ClassMisconfigured, ClassEgress, ClassUnreachable:
	}
}

func (a *account) rateLimitPause(asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strikes++
	a.troubled.Store(true)
	return min(strikeCooldown<<min(a.strikes-1, 10), strikeMost)
}

// cool benches the account for a while. A cooldown is only ever extended: a precise long one is not cut by a vague short one.
func (s *Store) cool(a *account, pause time.Duration, scope Scope, reason string, now time.Time) {
	until := now.Add(pause)
	a.mu.Lock()
	extended := until.UnixNano() > a.coolUntil.Load()
	if extended {
		a.cooldown = Cooldown{Scope: scope, Until: until, Reason: reason}
		a.coolUntil.Store(until.UnixNano())
		a.planLocked(s.cfg.Renewal.Lead)
	}
	a.mu.Unlock()
	if extended {
		s.renewals.wake(a)
		s.event("cooldown_set", a, zapDuration("for", pause), zapString("class", reason))
	}
}

// suspect benches an account whose token was refused and no refresh helps; the second time in a row it is quarantined. A
// static key is benched for longer instead, since nothing else would ever try it again.
func (s *Store) suspect(a *account) {
	now := time.Now()
	a.mu.Lock()
	seen := a.coolUntil.Load() > now.UnixNano()
	again := a.suspect && !seen
	a.suspect = true
	a.troubled.Store(true)
	a.mu.Unlock()
	switch {
	case again && a.static():
		s.cool(a, blockedCooldown, ScopeAccount, "token_rejected", now)
	case again:
		s.condemn(a)
	case !seen:
		s.cool(a, suspectCooldown, ScopeAccount, "token_rejected", now)
	}
}

// condemn quarantines an account whose fresh tokens are refused: only a human can tell why. Saved with the record.
func (s *Store) condemn(a *account) {
	a.mu.Lock()
	if a.quarantine == "" {
		a.quarantine = "its tokens are refused right after a refresh"
		a.planLocked(s.cfg.Renewal.Lead)
	}
	fingerprint := Fingerprint(a.id, a.record.Credential())
	a.mu.Unlock()
	s.renewals.wake(a)
	s.event("account_quarantined", a, zapString("class", string(RefreshPermanent)))
	if !s.begin() {
		return
	}
	go func() {
		defer s.flights.Done()
		s.saveCondemned(a, fingerprint)
	}()
}
