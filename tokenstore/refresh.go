package tokenstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// The refresh protocol: claim - redeem - keep - commit. The token endpoint is called only with a claim that was
// confirmed on the very version that supplied the refresh token, so two processes never spend one token; whatever it
// answers is kept in memory before it is saved, and saving never gives up while the process lives.

// claimed is a confirmed claim: the right, and the duty, to finish one refresh.
type claimed struct {
	record      Record // with the claim in it
	version     Version
	driver      Driver
	fingerprint string // of the credential that will be spent
	trigger     Trigger
}

// refresh runs the protocol once. It calls done as soon as the result is known and returns when it is saved.
func (s *Store) refresh(a *account, trigger Trigger, done func(RefreshResult)) {
	c, early := s.claim(a, trigger)
	if c == nil {
		done(early)
		return
	}
	s.metrics.claims.Inc()
	defer s.metrics.claims.Dec()
	s.event("refresh_started", a, zapString("trigger", string(trigger)))
	grant, err := s.redeem(c)
	if err != nil {
		done(s.settle(a, c, err))
		return
	}
	saved := s.keep(a, c, grant)
	done(RefreshResult{Outcome: Refreshed, GenerationAfter: saved.Rotation.Generation, ExpiresAt: saved.ExpiresAt})
	s.commit(a, c, grant, saved)
}

// claim reads the record and writes our claim into it. It returns the claim, or nil and why there is nothing to redeem.
func (s *Store) claim(a *account, trigger Trigger) (*claimed, RefreshResult) {
	before := a.generation()
	for {
		if s.stopping.Err() != nil {
			return nil, failed(a, &RefreshError{Class: RefreshNotSent, Message: errStopping.Error()})
		}
		r, v, err := s.load(a.id)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrDeleted):
			s.remove(a.id)
			return nil, failed(a, &RefreshError{Class: RefreshMisconfigured, Message: "the account was removed"})
		case errors.Is(err, ErrUnreadable):
			a.unreadable(err, v)
			return nil, failed(a, &RefreshError{Class: RefreshMisconfigured, Message: err.Error()})
		case err != nil:
			return nil, s.postpone(a, &RefreshError{Class: RefreshNotSent, Message: "the store is not available: " + err.Error()})
		}
		s.take(a, r, v)
		if early, ok := s.needless(a, r, before, trigger); ok {
			return nil, early
		}
		if wait := s.foreign(a, r.Rotation.Claim); wait > 0 {
			pause(s.stopping, wait)
			continue
		}
		if early, ok := s.ambiguous(a, r, trigger); ok {
			return nil, early
		}
		c := &claimed{record: r.Clone(), driver: s.cfg.Drivers[r.Provider], fingerprint: Fingerprint(a.id, r.Credential()), trigger: trigger}
		c.record.Rotation.Claim = &Claim{AttemptID: newID(), Holder: s.cfg.Holder, Fingerprint: c.fingerprint, StartedAt: time.Now().UTC()}
		c.version, err = s.write(a.id, &c.record, v)
		switch {
		case errors.Is(err, ErrConflict):
			s.metrics.conflicts.Inc()
			continue
		case err != nil:
			return nil, s.postpone(a, &RefreshError{Class: RefreshNotSent, Message: "the claim could not be written: " + err.Error()})
		}
		s.take(a, c.record, c.version)
		return c, RefreshResult{}
	}
}

// needless reports whether the record just read makes a refresh unnecessary or impossible.
func (s *Store) needless(a *account, r Record, before Generation, trigger Trigger) (RefreshResult, bool) {
	t := a.token.Load()
	a.mu.Lock()
	problem, dead := a.problem, a.quarantine
	a.mu.Unlock()
	switch {
	case problem != nil:
		return failed(a, &RefreshError{Class: RefreshMisconfigured, Message: problem.Error()}), true
	case t != nil && t.generation > before && !t.refused.Load():
		s.event("refresh_adopted", a)
		return RefreshResult{Outcome: Adopted, GenerationAfter: t.generation, ExpiresAt: t.expires}, true
	case r.State == Paused:
		return RefreshResult{Outcome: Skipped, GenerationAfter: before, Error: ErrPaused.Error()}, true
	case !s.cfg.Drivers[r.Provider].Refreshable(r):
		return RefreshResult{Outcome: Skipped, GenerationAfter: before, Error: "nothing to refresh with: a static or externally managed token"}, true
	case dead != "" && trigger != TriggerOperator:
		return failed(a, &RefreshError{Class: RefreshPermanent, Message: dead}), true
	}
	return RefreshResult{}, false
}

// foreign returns how long to wait before looking again at another process's claim; 0: there is none, or it is dead. A
// claim is dead when this process has itself seen it unchanged for the lease: clocks of two machines are never compared.
func (s *Store) foreign(a *account, c *Claim) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c == nil || c.Holder == s.cfg.Holder {
		a.claimSeen = ""
		return 0
	}
	if a.claimSeen != c.AttemptID {
		a.claimSeen, a.claimSince = c.AttemptID, time.Now()
	}
	left := s.cfg.Renewal.ClaimLease - time.Since(a.claimSince)
	return min(max(left, 0), 200*time.Millisecond)
}

// ambiguous handles a claim that was left behind, dead or ours: its refresh token may be spent. The provider's replay
// policy says whether to use the living token up first.
func (s *Store) ambiguous(a *account, r Record, trigger Trigger) (RefreshResult, bool) {
	c := r.Rotation.Claim
	t := a.token.Load()
	if c == nil || c.Fingerprint != Fingerprint(a.id, r.Credential()) || t == nil || trigger == TriggerOperator {
		return RefreshResult{}, false
	}
	at := replayAt(s.cfg.Drivers[r.Provider].Replay(), !t.refused.Load(), t.expires, t.lifetime())
	if !at.After(time.Now()) {
		return RefreshResult{}, false
	}
	a.setRetry(at)
	return failed(a, &RefreshError{Class: RefreshUnknown, Message: "an earlier refresh ended without a readable answer; its refresh token is tried again shortly before the access token ends"}), true
}

// redeem makes the one grant request, on its own deadline.
func (s *Store) redeem(c *claimed) (Grant, *RefreshError) {
	ctx, cancel := context.WithTimeout(s.life, s.cfg.Renewal.TokenEndpointTimeout)
	defer cancel()
	started := time.Now()
	grant, err := c.driver.Refresh(ctx, c.record)
	s.metrics.refreshDuration.WithLabelValues(c.record.Provider, result(err)).Observe(time.Since(started).Seconds())
	if err == nil {
		return grant, nil
	}
	var e *RefreshError
	if !errors.As(err, &e) {
		e = &RefreshError{Class: RefreshUnknown, Message: "the driver failed"}
	}
	return Grant{}, e
}

// apply returns the record with the grant in it and the claim cleared.
func (c *claimed) apply(r Record, g Grant, gen Generation, id AccountID) Record {
	now := time.Now().UTC()
	next := r.Clone()
	next.AccessToken, next.TokenType, next.ObtainedAt, next.ExpiresAt = g.AccessToken, g.TokenType, now, time.Time{}
	if g.ExpiresIn > 0 {
		next.ExpiresAt = now.Add(g.ExpiresIn)
	}
	if !g.RefreshToken.IsZero() {
		next.RefreshToken = g.RefreshToken
	}
	if g.Scope != "" {
		next.Scope = g.Scope
	}
	next.Rotation.Generation, next.Rotation.Claim = gen, nil
	next.Rotation.Last = &Outcome{At: now, Trigger: c.trigger, Result: "succeeded", Fingerprint: Fingerprint(id, next.Credential())}
	return next
}

// keep installs the new token in memory, before anything else can go wrong.
func (s *Store) keep(a *account, c *claimed, g Grant) Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	gen := max(c.record.Rotation.Generation, a.highest) + 1
	next := c.apply(c.record, g, gen, a.id)
	if a.flight != nil {
		a.flight.saving = true
	}
	a.record, a.version, a.highest = next, c.version, gen // whatever was written after our claim is still to be met
	a.quarantine, a.rotated, a.failures, a.retryAt = "", false, 0, time.Time{}
	a.setTokenLocked(newToken(a.id, next, c.driver, gen))
	a.planLocked(s.cfg.Renewal.Lead)
	return next
}

// commit saves what keep installed. It gives up only if the account is gone or somebody replaced the credential.
func (s *Store) commit(a *account, c *claimed, g Grant, next Record) {
	version, unsaved := c.version, false
	for try := 1; ; try++ {
		v, err := s.write(a.id, &next, version)
		switch {
		case err == nil:
			if unsaved {
				s.metrics.unsaved.Dec()
				s.event("rotation_saved", a)
			}
			s.saved(a, next, v)
			if version != c.version { // an operator's edit came in between, and perhaps changed whom the account may serve
				s.rebuildSoon()
			}
			return
		case errors.Is(err, ErrConflict):
			s.metrics.conflicts.Inc()
			cur, v, ok := s.rebase(a, c)
			if !ok {
				if unsaved {
					s.metrics.unsaved.Dec()
				}
				return
			}
			if cur != nil {
				next, version = c.apply(*cur, g, next.Rotation.Generation, a.id), v
				next.ExpiresAt, next.ObtainedAt = a.record.ExpiresAt, a.record.ObtainedAt
				continue
			}
		}
		if !unsaved {
			unsaved = true
			s.metrics.unsaved.Inc()
			s.event("rotation_unsaved", a, zapError(err))
		}
		time.Sleep(backoff(try, 50*time.Millisecond, 5*time.Second, 0, rand.Float64())) //nolint:gosec,forbidigo // jitter; commit outlives every context
	}
}

// rebase reads what stands in the way of a commit. ok is false when the commit is void: the account is gone, or the
// operator or a peer replaced the credential that we spent. A nil record with ok means: try again later.
func (s *Store) rebase(a *account, c *claimed) (*Record, Version, bool) {
	cur, v, err := s.load(a.id)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrDeleted):
		s.remove(a.id)
		return nil, 0, false
	case errors.Is(err, ErrUnreadable):
		s.landed(a)
		a.unreadable(err, v)
		return nil, 0, false
	case err != nil:
		return nil, 0, true
	case cur.Rotation.Incarnation != c.record.Rotation.Incarnation || Fingerprint(a.id, cur.Credential()) != c.fingerprint:
		s.landed(a)
		s.event("account_adopted", a)
		s.take(a, cur, v)
		return nil, 0, false
	}
	return &cur, v, true
}

// settle records a failed redemption and plans the next try.
func (s *Store) settle(a *account, c *claimed, e *RefreshError) RefreshResult {
	if e.Class == RefreshPermanent { // perhaps the operator or a peer was quicker than our watch
		if cur, v, err := s.load(a.id); err == nil && Fingerprint(a.id, cur.Credential()) != c.fingerprint {
			s.take(a, cur, v)
			return failed(a, &RefreshError{Class: RefreshTransient, Message: "the credential was replaced while it was being refused; the new one is tried next"})
		}
	}
	next := c.record.Clone()
	if e.Class == RefreshUnknown {
		next.Rotation.Claim.Ambiguous = true
		s.metrics.ambiguous.Inc()
		s.event("refresh_ambiguous", a)
	} else {
		next.Rotation.Claim = nil
	}
	next.Rotation.Last = &Outcome{At: time.Now().UTC(), Trigger: c.trigger, Result: "failed", Class: e.Class, Status: e.Status, Error: clip(e.Error()), Fingerprint: c.fingerprint}
	res := s.postpone(a, e)
	if v, err := s.write(a.id, &next, c.version); err == nil {
		s.take(a, next, v)
	} else if e.Class == RefreshPermanent {
		a.mu.Lock()
		a.quarantine = "the credential was refused for good: " + next.Rotation.Last.Error
		a.mu.Unlock()
	}
	if e.Class == RefreshPermanent {
		s.event("account_quarantined", a, zapString("class", string(e.Class)))
	}
	return res
}

// postpone plans the next try after a failure.
func (s *Store) postpone(a *account, e *RefreshError) RefreshResult {
	r := s.cfg.Renewal
	a.mu.Lock()
	a.failures++
	lo := r.BackoffMin
	if e.Class == RefreshMisconfigured {
		lo = r.BackoffMax // waiting does not help, but a mended configuration should be noticed
	}
	at := time.Now().Add(backoff(a.failures, lo, r.BackoffMax, e.RetryAfter, rand.Float64())) //nolint:gosec // jitter
	t, policy := a.token.Load(), ReplayPolicy(0)
	if a.driver != nil {
		policy = a.driver.Replay()
	}
	if e.Class == RefreshUnknown && t != nil {
		at = later(at, replayAt(policy, !t.refused.Load(), t.expires, t.lifetime()))
	}
	a.retryAt = at
	a.mu.Unlock()
	return failed(a, e)
}
