package tokenstore

import (
	"cmp"
	"errors"
	"time"
)

// claim reads the record and writes our claim into it. It returns the claim, or nil and why there is nothing to redeem.
func (s *Store) claim(a *account, trigger Trigger) (*claimed, RefreshResult) {
	before, wanted := a.generation(), a.wanted()
	for conflicts := 0; ; {
		if s.stopping.Err() != nil {
			return nil, failed(a, &RefreshError{Class: RefreshNotSent, Message: errStopping.Error()})
		}
		cur, err := s.load(a.id)
		switch {
		case errors.Is(err, ErrNotFound):
			s.remove(a.id)
			return nil, failed(a, &RefreshError{Class: RefreshMisconfigured, Message: "the account was removed"})
		case errors.Is(err, ErrDeleted), errors.Is(err, ErrUnreadable):
			s.unusable(a, err, cur)
			return nil, failed(a, &RefreshError{Class: RefreshMisconfigured, Message: err.Error()})
		case err != nil:
			return nil, s.postponeForStore(a, "the store is not available: "+err.Error())
		}
		cur = s.take(a, cur)
		rejected := fellBack(a.id, cur.record, wanted)
		cur.record = s.complete(a, cur.record)
		if early, ok := s.needless(a, cur.record, before, trigger); ok {
			return nil, early
		}
		if rejected && a.living(time.Now().UnixNano()) {
			return nil, RefreshResult{Outcome: Fresh, GenerationAfter: before} // another process tried it, and found it wanting
		}
		wanted = Fingerprint(a.id, cur.record.Credential())
		if wait := s.foreign(a, cur.record.Rotation.Claim); wait > 0 {
			pause(s.stopping, wait)
			continue
		}
		if early, ok := s.ambiguous(a, cur.record); ok {
			return nil, early
		}
		c := &claimed{began: time.Now(), driver: s.cfg.Drivers[cur.record.Provider], fingerprint: Fingerprint(a.id, cur.record.Credential()), trigger: trigger}
		c.doubtful = s.doubted(a, cur.record.Rotation.Claim, c.fingerprint)
		next := cur.record.Clone()
		next.Rotation.Claim = &Claim{AttemptID: newID(), Holder: s.cfg.Holder, Fingerprint: c.fingerprint, StartedAt: time.Now().UTC(), LeaseSeconds: int(s.cfg.Renewal.ClaimLease.Seconds())}
		c.stored, err = s.write(a.id, next, cur.version, newID())
		switch {
		case errors.Is(err, ErrConflict):
			s.metrics.conflicts.Inc()
			if conflicts++; conflicts > 3 { // more in a row is a store that shows us old news
				pause(s.stopping, backoff(conflicts-3, 50*time.Millisecond, 5*time.Second, 0, s.cfg.Random()))
			}
			continue
		case err != nil:
			return nil, s.postponeForStore(a, "the claim could not be written: "+err.Error())
		}
		a.regained()
		s.take(a, c.stored)
		if Fingerprint(a.id, c.record.Credential()) != c.fingerprint { // the write's answer was lost, and another credential came on top
			continue
		}
		return c, RefreshResult{}
	}
}

// doubted reports whether an earlier claim may have spent the credential.
func (s *Store) doubted(a *account, earlier *Claim, fingerprint string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if earlier == nil || earlier.Fingerprint != fingerprint {
		return false
	}
	return earlier.Ambiguous || earlier.Holder != s.cfg.Holder || earlier.AttemptID == a.doubtful
}

// needless reports whether the record just read makes a refresh unnecessary or impossible.
func (s *Store) needless(a *account, r Record, before Generation, trigger Trigger) (RefreshResult, bool) {
	t := a.token.Load()
	a.mu.Lock()
	problem, dead, forced, formers := a.problem, a.quarantine, a.forcedLocked(), len(a.formersLocked(a.record))
	if a.record.Credential().Equal(r.Credential()) { // not so when the former one takes its place
		problem = cmp.Or(problem, a.flawLocked())
	} else {
		dead = ""
	}
	recheck := trigger == TriggerSchedule && !a.recheck.IsZero() && !a.recheck.After(time.Now())
	a.mu.Unlock()
	switch {
	case problem != nil: // postponed: a credential that cannot be used may be due
		return s.postpone(a, &RefreshError{Class: RefreshMisconfigured, Message: problem.Error()}), true
	case t != nil && t.generation > before && !t.refused.Load():
		s.event("refresh_adopted", a)
		return RefreshResult{Outcome: Adopted, GenerationAfter: t.generation, ExpiresAt: t.expires}, true
	case r.OnHold():
		return RefreshResult{Outcome: Skipped, GenerationAfter: before, Error: ErrPaused.Error()}, true
	case !s.cfg.Drivers[r.Provider].Refreshable(r):
		return RefreshResult{Outcome: Skipped, GenerationAfter: before, Error: "nothing to refresh with: a static or externally managed token"}, true
	case dead != "" && !forced && !recheck && formers > 0: // another account's, all of them
		return s.postpone(a, &RefreshError{Class: RefreshPermanent, Message: dead}), true
	case dead != "" && !forced && !recheck:
		return failed(a, &RefreshError{Class: RefreshPermanent, Message: dead}), true
	}
	return RefreshResult{}, false
}

// longestLease bounds how long another process's claim is respected.
const longestLease = 10 * time.Minute

// foreign returns how long to wait before looking again at another process's claim; 0: there is none, or it is dead. A
// claim is dead when this process has itself seen it unchanged for the lease: clocks of two machines are never compared. One that its
// holder marked as ambiguous has ended.
func (s *Store) foreign(a *account, c *Claim) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c == nil || c.Holder == s.cfg.Holder || c.Ambiguous {
		a.claimSeen, a.claimSince = "", time.Now().Add(-s.cfg.Renewal.ClaimLease) // at the least
		return 0
	}
	if a.claimSeen != c.AttemptID {
		a.claimSeen, a.claimSince = c.AttemptID, time.Now()
	}
	left := max(s.cfg.Renewal.ClaimLease, min(time.Duration(c.LeaseSeconds)*time.Second, longestLease)) - time.Since(a.claimSince)
	return min(max(left, 0), 200*time.Millisecond)
}

// ambiguous handles a claim that was left behind and whose refresh token may be spent: another process's, or ours if we
// got no readable answer. The provider's replay policy says whether to use the living token up first.
func (s *Store) ambiguous(a *account, r Record) (RefreshResult, bool) {
	c, t := r.Rotation.Claim, a.token.Load()
	if c == nil || c.Fingerprint != Fingerprint(a.id, r.Credential()) || t == nil {
		return RefreshResult{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.forcedLocked() && (c.Holder == s.cfg.Holder || c.Ambiguous) {
		return RefreshResult{}, false // nobody has the answer; without the mark another process may only be cut off from the store
	}
	if c.Holder == s.cfg.Holder && c.AttemptID != a.doubtful && !c.Ambiguous {
		return RefreshResult{}, false // it could not be cleared, but nothing was spent
	}
	if a.doubtful != c.AttemptID {
		a.doubtful, a.doubtSince = c.AttemptID, a.claimSince
	}
	if e := &a.evidence; e.doubted.IsZero() && e.class == ClassTokenRejected {
		e.doubted = e.since // refused before this process knew of the doubt
	}
	at := a.replayAtLocked(t)
	if !at.After(time.Now()) {
		return RefreshResult{}, false
	}
	return failed(a, &RefreshError{Class: RefreshUnknown, Message: doubtful(at)}), true
}

// heedMarkLocked learns from the record that another process, or this one before a restart, got no readable answer.
func (s *Store) heedMarkLocked(a *account, now time.Time) {
	c := a.record.Rotation.Claim
	if c != nil && c.Ambiguous && c.AttemptID != a.doubtful && c.Fingerprint == Fingerprint(a.id, a.record.Credential()) {
		a.doubtful, a.doubtSince = c.AttemptID, now.Add(-s.cfg.Renewal.ClaimLease) // at the least
	}
}

// doubtful says why a credential is left alone, and until when.
func doubtful(at time.Time) string {
	return "an earlier refresh ended without a readable answer, or was not saved yet by the process that made it: " +
		"its refresh token may be spent, and is tried again shortly before the access token ends, at " + at.UTC().Format(time.RFC3339)
}

// replayAt is when the credential of an ambiguous account may be presented again; zero: now.
func (a *account) replayAt(now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.token.Load()
	if t == nil || a.driver == nil {
		return time.Time{}
	}
	if at := a.replayAtLocked(t); at.After(now) {
		return at
	}
	return time.Time{}
}

// replayAtLocked is when the doubtful credential may be presented again; zero: now.
func (a *account) replayAtLocked(t *token) time.Time {
	policy, _ := a.driver.Replay()
	if policy == ReplayGrace && !a.graceOpenLocked() {
		policy = ReplayStrict // the predecessor is not accepted any more
	}
	end, life := a.endLocked(t)
	at := replayAt(policy, !t.refused.Load(), end, life)
	if e := a.evidence; !at.IsZero() && !e.doubted.IsZero() { // refused while healthy, and not accepted since
		at = earlier(at, e.doubted.Add(disbelief))
	}
	return at
}

// graceOpenLocked reports whether a doubtful credential had better be tried again now than later.
func (a *account) graceOpenLocked() bool {
	policy, grace := a.driver.Replay()
	return policy == ReplayGrace && a.doubtful != "" && (grace <= 0 || time.Since(a.doubtSince) <= grace)
}
