package tokenstore

import (
	"errors"
	"time"
)

// settle records a failed redemption and plans the next try.
func (s *Store) settle(a *account, c *claimed, e *RefreshError) RefreshResult {
	if e.Class == RefreshPermanent { // perhaps the operator or a peer was quicker than our watch
		if cur, err := s.load(a.id); err == nil && Fingerprint(a.id, cur.record.Credential()) != c.fingerprint {
			s.take(a, cur)
			return failed(a, &RefreshError{Class: RefreshTransient, Message: "the credential was replaced while it was being refused; the new one is tried next"})
		}
	}
	if e.Class == RefreshUnknown {
		s.metrics.ambiguous.Inc()
		s.event("refresh_ambiguous", a)
	}
	f := failure{
		Outcome: Outcome{
			At: time.Now().UTC(), Trigger: c.trigger, Result: "failed", Class: e.Class, Status: e.Status,
			Error: clip(e.Error()), Fingerprint: c.fingerprint,
		},
		refused: e.refused(), living: a.serves(time.Now()),
		doubtful: e.Class == RefreshUnknown || c.doubtful && e.Class != RefreshPermanent,
	}
	if f.doubtful {
		a.doubt(c)
	}
	res := s.postpone(a, e)
	if s.retreat(a, c, e, f.Outcome) {
		a.written()
		return res
	}
	before := a.condemned()
	if s.release(a, c, f) {
		a.written()
	} else {
		a.condemn(c.record, f)
	}
	if e.Class == RefreshPermanent || !before && a.condemned() {
		s.event("account_quarantined", a, zapString("class", string(e.Class)), zapString("error", f.Error))
	}
	return res
}

// release writes the outcome and takes our claim back, or marks it ambiguous. An operator's edit that came in between is
// kept. It reports whether the outcome is stored; if not, the claim stays and memory knows what it is worth.
func (s *Store) release(a *account, c *claimed, f failure) bool {
	change := func(cur Record) (Record, bool) {
		next := cur.Clone()
		next.fail(a.id, f)
		if f.doubtful {
			next.Rotation.Claim.Ambiguous = true
		} else {
			next.Rotation.Claim = nil
		}
		return next, true
	}
	return s.rewriteClaimed(a, c, change, func(cur stored) stored { return s.settleFormer(a, c, cur, f) })
}

// rewriteClaimed writes what change makes of the record that carries our claim, and again of what somebody wrote meanwhile for as
// long as the claim is in it. meet is given that first. It reports whether a change is stored; change may decline.
func (s *Store) rewriteClaimed(a *account, c *claimed, change func(cur Record) (next Record, ok bool), meet func(stored) stored) bool {
	cur := c.stored
	for range 5 {
		next, ok := change(cur.record)
		if !ok {
			return false
		}
		saved, err := s.write(a.id, next, cur.version, newID())
		if err == nil {
			s.take(a, saved)
			return true
		}
		if !errors.Is(err, ErrConflict) {
			return false
		}
		s.metrics.conflicts.Inc()
		if cur, err = s.load(a.id); !legible(cur.record, err) {
			return false
		}
		cur = meet(cur)
		if now := cur.record.Rotation.Claim; now == nil || now.AttemptID != c.attempt() {
			s.take(a, cur) // whoever took the claim away has decided about the account
			return false
		}
	}
	return false
}

// doubt remembers that an attempt of ours, or one before it, may have spent its credential.
func (a *account) doubt(c *claimed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.doubtful {
		a.doubtSince = time.Now()
	}
	a.doubtful = c.attempt()
	a.evidence.doubted = time.Time{} // what was refused before has had its refresh
}

// postpone plans the next try after a failure.
func (s *Store) postpone(a *account, e *RefreshError) RefreshResult {
	r := s.cfg.Renewal
	a.mu.Lock()
	a.failures++
	a.mended = a.mended && e.Class == RefreshNotSent
	lo, last := r.BackoffMin, a.record.Rotation.Last
	if e.Class == RefreshMisconfigured || e.refused() && last != nil && last.Refusals >= refusalsToDeath {
		lo = r.BackoffMax // waiting does not help, but a mended configuration should be noticed
	}
	at := time.Now().Add(backoff(a.failures, lo, r.BackoffMax, e.RetryAfter, s.cfg.Random()))
	a.retryAt, a.awaits = at, false
	if a.unwritten.FailingSince.IsZero() {
		a.unwritten.FailingSince = time.Now().UTC()
	}
	a.unwritten.Error = clip(e.Error())
	a.mu.Unlock()
	return failed(a, e)
}

// postponeForStore is postpone for want of the store.
func (s *Store) postponeForStore(a *account, why string) RefreshResult {
	r := s.postpone(a, &RefreshError{Class: RefreshNotSent, Message: why})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.awaits = true
	return r
}

// resume has the accounts that waited for the store tried again at once. Whoever holds a claim could not save either: its
// lease begins anew.
func (s *Store) resume() {
	for _, a := range s.all() {
		a.mu.Lock()
		a.claimSeen = ""
		waited := a.awaits
		if waited {
			a.awaits, a.failures, a.retryAt, a.unwritten = false, 0, time.Time{}, Outcome{}
			a.planLocked(s.cfg.Renewal.Lead)
		}
		a.mu.Unlock()
		if waited {
			s.renewals.wake(a)
		}
	}
}
