package tokenstore

import (
	"context"
	"errors"
	"time"
)

// The refresh protocol: claim - redeem - keep - journal - commit. The token endpoint is called only with a claim that was
// confirmed on the very version that supplied the refresh token, so two processes never spend one token; whatever it
// answers is kept in memory and in the journal before it is saved, and saving never gives up while the process lives.

// claimed is a confirmed claim: the right, and the duty, to finish one refresh.
type claimed struct {
	stored             // with the claim in it
	driver      Driver //
	fingerprint string // of the credential that will be spent
	doubtful    bool   // it may be spent already: an earlier claim of it ended without a readable answer
	trigger     Trigger
	began       time.Time // before the claim was written: others count its lease from the moment they see it, which is later
}

// fresh is the claim's version, 0 when the record may have been made anew up to that number since the claim: then a commit
// looks first. A young record needs only a few edits for it, any other many more than fit into a second.
func (c *claimed) fresh() Version {
	if c.version <= 4 || time.Since(c.began) > time.Second {
		return 0
	}
	return c.version
}

func (c *claimed) attempt() string { return c.record.Rotation.Claim.AttemptID }

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
	if bad := c.unusable(grant); bad != nil {
		s.rescue(a, c, grant, bad, done)
		return
	}
	revived := a.condemned()
	e := s.keep(a, c, grant)
	if revived {
		s.event("account_recovered", a)
	}
	done(RefreshResult{Outcome: Refreshed, GenerationAfter: e.Record.Rotation.Generation, ExpiresAt: e.Record.ExpiresAt})
	s.commit(a, e, c.fresh(), s.journalise(a, e))
}

// redeem makes the one grant request, on its own deadline. It does not begin what might outlast the claim's lease, after which
// others may spend the same credential.
func (s *Store) redeem(c *claimed) (Grant, *RefreshError) {
	if time.Since(c.began) > s.cfg.Renewal.ClaimLease-s.cfg.Renewal.TokenEndpointTimeout {
		return Grant{}, &RefreshError{Class: RefreshNotSent, Message: "the store took so long to confirm the claim that it could run out during the refresh"}
	}
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

// keep installs the new token in memory, before anything else can go wrong.
func (s *Store) keep(a *account, c *claimed, g Grant) JournalEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	gen := max(c.record.Rotation.Generation, a.highest) + 1
	next := c.fulfilled(g, gen, a.id)
	a.learnLocked(g)
	if a.flight != nil {
		a.flight.saving = true
	}
	a.record, a.version, a.highest = next, c.version, gen // whatever was written after our claim is still to be met
	a.quarantine, a.rotated, a.failures, a.retryAt, a.doubtful, a.former = "", false, 0, time.Time{}, "", nil
	a.unsavedDead, a.unwritten, a.mended = nil, Outcome{}, false
	e := JournalEntry{Attempt: c.attempt(), Account: a.id, Spent: c.fingerprint, At: time.Now().UTC(), Record: next}
	a.spendLocked(next.Rotation.Spent...)
	t := newToken(a.id, next, c.driver, gen, a.random())
	t.refreshed = true
	if t.hint == 0 {
		t.hint = g.Hint
	}
	old := a.token.Load()
	a.setTokenLocked(t)
	if c.trigger == TriggerResponse || old != nil && old.refused.Load() { // the schedule may be quicker than who met the refusal
		a.respondedAt = time.Now()
	}
	a.planLocked(s.cfg.Renewal.Lead)
	return e
}

// fulfilled returns the record with the grant in it and the claim cleared.
func (c *claimed) fulfilled(g Grant, gen Generation, id AccountID) Record {
	now := time.Now().UTC()
	next := c.record.Clone()
	next.AccessToken, next.TokenType, next.ObtainedAt, next.ExpiresAt = g.AccessToken, g.TokenType, now, time.Time{}
	next.Mend("access_token", "token_type", "obtained_at", "expires_at")
	if g.ExpiresIn > 0 {
		next.ExpiresAt = now.Add(g.ExpiresIn)
	}
	if !g.RefreshToken.IsZero() && !g.RefreshToken.Equal(next.RefreshToken) {
		next.RefreshToken = g.RefreshToken
		tellSpent(&next, c.fingerprint)
	}
	if g.Scope != "" && !next.Slipped("scope") {
		next.Scope = g.Scope
	}
	if c.record.Former != nil { // the new credential has proven good
		next.Former, next.Rotation.Rejected = nil, nil
	}
	next.Rotation.Generation, next.Rotation.Claim, next.Rotation.Dead = gen, nil, nil
	next.Rotation.Last = &Outcome{At: now, Trigger: c.trigger, Result: "succeeded", Fingerprint: Fingerprint(id, next.Credential())}
	return next
}
