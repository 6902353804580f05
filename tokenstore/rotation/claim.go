package rotation

import (
	"cmp"
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// claim reads the record and writes our claim into it. It returns the claim, or nil and why there is nothing to redeem.
func (k *Keeper) claim(a *Account, f *Flight) (*claimed, RefreshResult) {
	before, wanted := a.look().generation(), f.wanted
	for conflicts := 0; ; {
		if k.stopping.Err() != nil {
			return nil, a.failed(&RefreshError{Class: record.RefreshNotSent, Message: errStopping.Error()})
		}
		cur, err := k.read(a.id)
		switch {
		case errors.Is(err, ErrNotFound):
			k.remove(a.id)
			return nil, a.failed(&RefreshError{Class: record.RefreshMisconfigured, Message: "the account was removed"})
		case errors.Is(err, ErrDeleted), errors.Is(err, record.ErrUnreadable):
			k.unusable(a, err, cur)
			return nil, a.failed(&RefreshError{Class: record.RefreshMisconfigured, Message: err.Error()})
		case err != nil:
			return nil, k.postponeForStore(a, "the store is not available: "+err.Error())
		}
		cur = k.take(a, cur)
		rejected := record.FellBack(a.id, cur.record, wanted)
		cur.record = k.complete(a, cur.record)
		if early, ok := k.needless(a, cur.record, before, f); ok {
			return nil, early
		}
		if rejected && a.look().serves(time.Now()) {
			return nil, RefreshResult{Outcome: Fresh, GenerationAfter: before} // another process tried it, and found it wanting
		}
		wanted = record.Fingerprint(a.id, cur.record.Credential())
		if wait := k.foreign(a, cur.record.Rotation.Claim); wait > 0 {
			pause(k.stopping, wait)
			continue
		}
		if early, ok := k.ambiguous(a, cur.record, f.force); ok {
			return nil, early
		}
		c := &claimed{
			began:       time.Now(),
			driver:      k.cfg.Redeemers[cur.record.Provider],
			fingerprint: record.Fingerprint(a.id, cur.record.Credential()),
			trigger:     f.trigger,
		}
		c.doubtful = a.look().mayBeSpentBy(cur.record.Rotation.Claim, c.fingerprint)
		next := cur.record.Clone()
		next.Rotation.Claim = &record.Claim{
			AttemptID:    record.NewID(),
			Holder:       k.cfg.Holder,
			Fingerprint:  c.fingerprint,
			StartedAt:    time.Now().UTC(),
			LeaseSeconds: int(k.cfg.Renewal.ClaimLease.Seconds()),
		}
		c.stored, err = k.write(a.id, next, cur.version, record.NewID())
		switch {
		case errors.Is(err, ErrConflict):
			k.count.Conflicts.Inc()
			if conflicts++; conflicts > 3 { // more in a row is a store that shows us old news
				pause(k.stopping, backoff(conflicts-3, 50*time.Millisecond, 5*time.Second, 0, k.cfg.Random()))
			}
			continue
		case err != nil:
			return nil, k.postponeForStore(a, "the claim could not be written: "+err.Error())
		}
		k.change(a, func(l *lifecycle, _ time.Time) { l.memory.lost = nil }) // the claim has written memory's record
		k.take(a, c.stored)
		if record.Fingerprint(a.id, c.record.Credential()) != c.fingerprint {
			continue // the write's answer was lost, and another credential came on top
		}
		return c, RefreshResult{}
	}
}

// mayBeSpentBy reports whether an earlier claim may have spent the credential.
func (l *lifecycle) mayBeSpentBy(earlier *record.Claim, fingerprint string) bool {
	if earlier == nil || earlier.Fingerprint != fingerprint {
		return false
	}
	return earlier.Ambiguous || earlier.Holder != l.cfg.Holder || earlier.AttemptID == l.doubt.attempt
}

// needless reports whether the record just read makes a refresh unnecessary or impossible.
func (k *Keeper) needless(a *Account, r record.Record, before record.Generation, f *Flight) (RefreshResult, bool) {
	l := a.look()
	t, problem, dead, now := l.token, l.problem, l.death.quarantine, time.Now()
	if l.record.Credential().Equal(r.Credential()) { // not so when the former one takes its place
		problem = cmp.Or(problem, l.unfit())
	} else {
		dead = ""
	}
	recheck := f.trigger == record.TriggerSchedule && !l.death.recheck.IsZero() && !l.death.recheck.After(now)
	switch {
	case problem != nil: // postponed: a credential that cannot be used may be due
		return k.postpone(a, &RefreshError{Class: record.RefreshMisconfigured, Message: problem.Error()}), true
	case t != nil && t.Generation > before && !l.refused():
		k.host.Event("refresh_adopted", a)
		return RefreshResult{Outcome: Adopted, GenerationAfter: t.Generation, ExpiresAt: t.Expires}, true
	case r.OnHold():
		return RefreshResult{Outcome: Skipped, GenerationAfter: before, Error: ErrPaused.Error()}, true
	case !k.cfg.Redeemers[r.Provider].Refreshable(r):
		return RefreshResult{
			Outcome:         Skipped,
			GenerationAfter: before,
			Error:           "nothing to refresh with: a static or externally managed token",
		}, true
	case dead != "" && !f.force && !recheck && len(l.formers(l.record)) > 0: // another account's, all of them
		return k.postpone(a, &RefreshError{Class: record.RefreshPermanent, Message: dead}), true
	case dead != "" && !f.force && !recheck:
		return l.failed(&RefreshError{Class: record.RefreshPermanent, Message: dead}), true
	}
	return RefreshResult{}, false
}

// longestLease bounds how long another process's claim is respected.
const longestLease = 10 * time.Minute

// foreign returns how long to wait before looking again at another process's claim; 0: there is none, or it is dead.
func (k *Keeper) foreign(a *Account, c *record.Claim) (wait time.Duration) {
	k.change(a, func(l *lifecycle, now time.Time) { wait = min(l.sees(c, now), 200*time.Millisecond) })
	return wait
}

// sees notes the record's claim and returns what is left of another process's lease; 0: there is none, or it is dead. A
// claim is dead when this process has itself seen it unchanged for the lease: clocks of two machines are never
// compared. One that its holder marked as ambiguous has ended.
func (l *lifecycle) sees(c *record.Claim, now time.Time) time.Duration {
	lease := l.cfg.Renewal.ClaimLease
	if c == nil || c.Holder == l.cfg.Holder || c.Ambiguous {
		l.peer = peerClaim{since: now.Add(-lease)} // if it comes to a doubt: for how long is not known, a lease at least
		return 0
	}
	if l.peer.attempt != c.AttemptID {
		l.peer = peerClaim{c.AttemptID, now}
	}
	lease = max(lease, min(time.Duration(c.LeaseSeconds)*time.Second, longestLease))
	return max(lease-now.Sub(l.peer.since), 0)
}

// ambiguous handles a claim that was left behind and whose refresh token may be spent: another process's, or ours if we
// got no readable answer. The provider's replay policy says whether to use the living token up first.
func (k *Keeper) ambiguous(a *Account, r record.Record, force bool) (early RefreshResult, ok bool) {
	k.change(a, func(l *lifecycle, now time.Time) {
		if at := l.doubts(r, force, now); at.After(now) {
			early, ok = l.failed(&RefreshError{Class: record.RefreshUnknown, Message: InDoubt(at)}), true
		}
	})
	return early, ok
}

// doubts notes whether the credential of a record may be spent, and returns when it may be presented again; zero: now.
func (l *lifecycle) doubts(r record.Record, force bool, now time.Time) time.Time {
	c := r.Rotation.Claim
	if c == nil || c.Fingerprint != record.Fingerprint(l.id, r.Credential()) || l.token == nil {
		return time.Time{}
	}
	ours := c.Holder == l.cfg.Holder
	switch {
	case force && (ours || c.Ambiguous): // nobody has the answer. Without the mark another process may still save it
		return time.Time{}
	case ours && c.AttemptID != l.doubt.attempt && !c.Ambiguous: // it could not be cleared, but nothing was spent
		return time.Time{}
	}
	if l.doubt.attempt != c.AttemptID {
		l.doubt = doubt{attempt: c.AttemptID, since: l.peer.since, refused: l.doubt.refused}
	}
	if l.doubt.refused.IsZero() {
		l.doubt.refused = l.objections.Since // refused before this process knew of the doubt
	}
	return l.replayAt(now)
}

// heedMark learns from the record that another process, or this one before a restart, got no readable answer.
func (l *lifecycle) heedMark(now time.Time) {
	c := l.record.Rotation.Claim
	if c == nil || !c.Ambiguous || c.AttemptID == l.doubt.attempt {
		return
	}
	if c.Fingerprint == record.Fingerprint(l.id, l.record.Credential()) {
		since := now.Add(-l.cfg.Renewal.ClaimLease) // for how long is not known: a lease at least
		l.doubt = doubt{attempt: c.AttemptID, since: since, refused: l.doubt.refused}
	}
}

// disbelief is how long a refusal of a token that nothing else speaks against is not believed: the request may be
// guilty.
const disbelief = 5 * time.Second

// InDoubt tells the operator why a credential is left alone, and until when.
func InDoubt(at time.Time) string {
	return "an earlier refresh ended without a readable answer, or was not saved yet by the process that made it: " +
		"its refresh token may be spent, and is tried again shortly before the access token ends, at " +
		at.UTC().Format(time.RFC3339)
}

// replayAt is when the doubtful credential may be presented again; zero: now.
func (l *lifecycle) replayAt(now time.Time) time.Time {
	policy, _ := l.driver.Replay()
	if policy == ReplayGrace && !l.graceOpen(now) {
		policy = ReplayStrict // if it is spent, it is not accepted any more
	}
	end, life := l.end(now)
	at := replayAt(policy, !l.refused(), end, life)
	if !at.IsZero() && !l.doubt.refused.IsZero() { // refused, if not believed, and not accepted since
		at = earlier(at, l.doubt.refused.Add(disbelief))
	}
	return at
}

// graceOpen reports whether a doubtful credential had better be tried again now than later: the provider still accepts
// one that is spent, for all we know.
func (l *lifecycle) graceOpen(now time.Time) bool {
	policy, grace := l.driver.Replay()
	return policy == ReplayGrace && l.doubt.attempt != "" && (grace <= 0 || now.Sub(l.doubt.since) <= grace)
}
