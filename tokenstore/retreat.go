package tokenstore

import (
	"errors"
	"slices"
	"time"
)

// This file is what an account does with a former credential: know it, go back to it, or let it go.

// replacedLocked notes that the record shows another credential than before. If an operator gave it, by hand perhaps, memory keeps the
// former one for the next claim to write down: the latest that was in use, not one that was never exchanged.
func (a *account) replacedLocked(before Record) {
	f := before.formerly(time.Now())
	if c := a.record.Rotation.Claim; c != nil && c.Fingerprint == Fingerprint(a.id, before.Credential()) { // its refresh is under way
		claim := *c
		f.Claim = &claim
	}
	switch {
	case !a.rotated, before.Provider != a.record.Provider:
		a.former = nil
	case before.Former != nil:
		a.former = before.Former
	case len(a.formersLocked(a.record)) == 0 && a.quarantine == "" && f.usable(a.id, before): // else the record tells
		a.former = f
	}
}

// carryLocked gives a record that an operator wrote anew the access token that memory still serves from.
func (a *account) carryLocked(r *Record, replaced bool) {
	was := a.record
	if r.AccessToken.IsZero() && !was.AccessToken.IsZero() && (replaced || a.rotated) && was.Provider == r.Provider && was.Kind == r.Kind {
		r.AccessToken, r.TokenType, r.ExpiresAt, r.ObtainedAt = was.AccessToken, was.TokenType, was.ExpiresAt, was.ObtainedAt
	}
}

// keepKeyLocked has an account go on with the API key of memory when the record shows one that cannot be a key. There is nothing
// to exchange it for, so nothing else could tell.
func (a *account) keepKeyLocked(r *Record) {
	if a.flaw == nil || r.Kind != KindAPIKey {
		return
	}
	if was := a.record; was.Kind == r.Kind && was.Provider == r.Provider && Flaw(was) == nil && !was.APIKey.IsZero() {
		r.APIKey = was.APIKey
	}
}

// formersLocked are the credentials that may come back in place of the record's, as far as the account itself knows, the best first.
func (a *account) formersLocked(r Record) []*Former {
	return slices.DeleteFunc([]*Former{a.former, r.Former}, func(f *Former) bool {
		return f == nil || a.isSpentLocked(Fingerprint(a.id, r.reinstated(f).Credential())) || !f.usable(a.id, r)
	})
}

// former is the credential that can come back in place of the record's; nil: none.
func (s *Store) former(a *account, r Record) *Former {
	a.mu.Lock()
	candidates := a.formersLocked(r)
	a.mu.Unlock()
	for _, f := range candidates {
		if s.elsewhere(a, r.reinstated(f)) == nil {
			return f
		}
	}
	return nil
}

// givenLocked reports whether the record's credential was given to the account, after before: it is not the former one, back since
// the other was rejected or by an operator's hand.
func (a *account) givenLocked(before Record) bool {
	no, known := a.record.Rotation.Rejected, before.Rotation.Rejected
	isNews := no != nil && (known == nil || !known.At.Equal(no.At))
	if isNews && fellBack(a.id, a.record, Fingerprint(a.id, before.Credential())) {
		return false
	}
	f := before.Former
	if f == nil {
		f = a.former
	}
	return f == nil || !a.record.Credential().Equal(before.reinstated(f).Credential())
}

// complete adds to a record that was just read what memory knows of its former credential, for the next write to keep. A
// credential that cannot be one gives way to the former at once.
func (s *Store) complete(a *account, r Record) Record {
	r = givenBack(a.id, r)
	f := s.former(a, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.carryLocked(&r, false)
	switch {
	case f == nil:
		return r
	case a.flawLocked() != nil:
		return a.fallBack(r, f, ruleOf(a.flawLocked()), time.Now())
	case a.quarantine != "" && a.record.Credential().Equal(r.Credential()): // another process found it dead, and knew of no former one
		return a.fallBack(r, f, a.quarantine, time.Now())
	case a.rotated || r.Former != nil:
		r.Former = f
	}
	return r
}

// fallBack is the record with its former credential, and what became of the other.
func (a *account) fallBack(r Record, f *Former, why string, now time.Time) Record {
	next := r.reinstated(f)
	next.Rotation.Rejected = &Rejection{At: now.UTC(), Error: clip(why), Fingerprint: Fingerprint(a.id, r.Credential())}
	return next
}

// unproven reports whether an operator gave the account a credential that has not been exchanged yet.
func (a *account) unproven() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rotated || a.record.Former != nil
}

// rejection is what became of the latest credential that did not work; nil: nothing to tell.
func (a *account) rejection() *Rejection {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.record.Rotation.Rejected
}

// ruleOf is what a record's error says of its key.
func ruleOf(err error) string {
	var e *RecordError
	if errors.As(err, &e) {
		return e.Key + " " + e.Rule
	}
	return err.Error()
}

// retreat brings the former credential back after the new one was refused. It reports whether that is saved.
func (s *Store) retreat(a *account, c *claimed, e *RefreshError, last Outcome) bool {
	change := func(cur Record) (Record, bool) {
		f := s.former(a, cur)
		if f == nil || !rejects(cur, f, e.Class) || Fingerprint(a.id, cur.Credential()) != c.fingerprint {
			return Record{}, false
		}
		next := cur.Clone()
		next.Rotation.Claim = nil
		next = a.fallBack(next, f, e.Error(), last.At)
		next.Rotation.Last, next.Rotation.Dead = &last, nil
		if Fingerprint(a.id, next.Credential()) == c.fingerprint { // the same refresh token for another client: it is not dead
			next.Rotation.Last = nil
		}
		return next, true
	}
	return s.rewriteClaimed(a, c, change, func(cur stored) stored { return cur })
}

// settleFormer writes the outcome of a refresh whose credential an operator replaced meanwhile to where that is kept now.
func (s *Store) settleFormer(a *account, c *claimed, cur stored, f failure) stored {
	former := cur.record.Former
	if former == nil || former.Claim == nil || former.Claim.AttemptID != c.attempt() {
		return cur
	}
	next := cur.record.Clone()
	if f.doubtful {
		next.Former.Claim.Ambiguous = true
	} else {
		next.Former.Claim = nil
	}
	if f.Class == RefreshPermanent {
		next.Former = nil
	}
	saved, err := s.write(a.id, next, cur.version, newID())
	if err != nil {
		return cur // it stays a claim that nobody ends: others wait for its lease
	}
	return saved
}

// rebased puts a rotation onto what somebody wrote meanwhile: in place of the spent credential, or behind the one that an operator
// gave the account.
func (a *account) rebased(cur Record, e JournalEntry) Record {
	if credential := Fingerprint(a.id, cur.Credential()); credential == e.Spent || a.isSpent(credential) || !outlives(cur, e.Record) {
		next := graft(cur, e.Record)
		if c := cur.Rotation.Claim; c != nil && c.AttemptID != e.Attempt && c.Fingerprint == Fingerprint(a.id, next.Credential()) {
			next.Rotation.Claim = c // not rotated, and another is about to spend it
		}
		return next
	}
	next := graft(cur, e.Record)
	next.RefreshToken, next.Scope, next.Rotation.Last = cur.RefreshToken, cur.Scope, cur.Rotation.Last
	next.Former = e.Record.formerly(time.Now())
	if cur.Former != nil {
		next.Former.Since = cur.Former.Since
	}
	if claim := cur.Rotation.Claim; claim != nil && claim.AttemptID != e.Attempt {
		next.Rotation.Claim = claim
	}
	if cur.ObtainedAt.After(e.Record.ObtainedAt) {
		next.AccessToken, next.TokenType, next.ObtainedAt, next.ExpiresAt = cur.AccessToken, cur.TokenType, cur.ObtainedAt, cur.ExpiresAt
	}
	return next
}
