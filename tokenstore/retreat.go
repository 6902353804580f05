package tokenstore

import (
	"errors"
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// This file is what an account does with a former credential: know it, go back to it, or let it go.

// replacedLocked notes that the record shows another credential than before. If an operator gave it, by hand perhaps, memory keeps the
// former one for the next claim to write down: the latest that was in use, not one that was never exchanged.
func (a *account) replacedLocked(before record.Record) {
	f := before.AsFormer(time.Now())
	switch {
	case !a.rotated, before.Provider != a.record.Provider:
		a.former = nil
	case before.Former != nil:
		a.former = before.Former
	case a.former == nil && a.record.Former == nil && a.quarantine == "" && f.Usable(a.id, before): // else the record tells
		a.former = f
	}
}

// carryLocked gives a record that an operator wrote anew the access token that memory still serves from.
func (a *account) carryLocked(r *record.Record, replaced bool) {
	was := a.record
	if r.AccessToken.IsZero() && !was.AccessToken.IsZero() && (replaced || a.rotated) && was.Provider == r.Provider && was.Kind == r.Kind {
		r.AccessToken, r.TokenType, r.ExpiresAt, r.ObtainedAt = was.AccessToken, was.TokenType, was.ExpiresAt, was.ObtainedAt
	}
}

// keepKeyLocked has an account go on with the API key of memory when the record shows one that cannot be a key. There is nothing
// to exchange it for, so nothing else could tell.
func (a *account) keepKeyLocked(r *record.Record) {
	if a.flaw == nil || r.Kind != record.KindAPIKey {
		return
	}
	if was := a.record; was.Kind == r.Kind && was.Provider == r.Provider && record.Flaw(was) == nil && !was.APIKey.IsZero() {
		r.APIKey = was.APIKey
	}
}

// formersLocked are the credentials that may come back in place of the record's, as far as the account itself knows, the best first.
func (a *account) formersLocked(r record.Record) []*record.Former {
	return slices.DeleteFunc([]*record.Former{a.former, r.Former}, func(f *record.Former) bool {
		return f == nil || a.isSpentLocked(record.Fingerprint(a.id, r.Reinstated(f).Credential())) || !f.Usable(a.id, r)
	})
}

// former is the credential that can come back in place of the record's; nil: none.
func (s *Store) former(a *account, r record.Record) *record.Former {
	a.mu.Lock()
	candidates := a.formersLocked(r)
	a.mu.Unlock()
	for _, f := range candidates {
		if s.elsewhere(a, r.Reinstated(f)) == nil {
			return f
		}
	}
	return nil
}

// givenLocked reports whether the record's credential was given to the account, after before: it is not the former one, back since
// the other was rejected or by an operator's hand.
func (a *account) givenLocked(before record.Record) bool {
	no, known := a.record.Rotation.Rejected, before.Rotation.Rejected
	isNews := no != nil && (known == nil || !known.At.Equal(no.At))
	if isNews && record.FellBack(a.id, a.record, record.Fingerprint(a.id, before.Credential())) {
		return false
	}
	f := before.Former
	if f == nil {
		f = a.former
	}
	return f == nil || !a.record.Credential().Equal(before.Reinstated(f).Credential())
}

// complete adds to a record that was just read what memory knows of its former credential, for the next write to keep. A
// credential that cannot be one gives way to the former at once.
func (s *Store) complete(a *account, r record.Record) record.Record {
	r = record.GivenBack(a.id, r)
	f := s.former(a, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.carryLocked(&r, false)
	switch {
	case f == nil:
		return r
	case a.flawLocked() != nil:
		return a.fallBack(r, f, ruleOf(a.flawLocked()), time.Now())
	case a.rotated || r.Former != nil:
		r.Former = f
	}
	return r
}

// fallBack is the record with its former credential, and what became of the other.
func (a *account) fallBack(r record.Record, f *record.Former, why string, now time.Time) record.Record {
	next := r.Reinstated(f)
	next.Rotation.Rejected = &record.Rejection{At: now.UTC(), Error: record.Clip(why), Fingerprint: record.Fingerprint(a.id, r.Credential())}
	return next
}

// unproven reports whether an operator gave the account a credential that has not been exchanged yet.
func (a *account) unproven() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rotated || a.record.Former != nil
}

// rejection is what became of the latest credential that did not work; nil: nothing to tell.
func (a *account) rejection() *record.Rejection {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.record.Rotation.Rejected
}

// ruleOf is what a record's error says of its key.
func ruleOf(err error) string {
	var e *record.Error
	if errors.As(err, &e) {
		return e.Key + " " + e.Rule
	}
	return err.Error()
}

// retreat brings the former credential back after the new one was refused. It reports whether that is saved.
func (s *Store) retreat(a *account, c *claimed, e *RefreshError, last record.Outcome) bool {
	change := func(cur record.Record) (record.Record, bool) {
		f := s.former(a, cur)
		if f == nil || !record.Rejects(cur, f, e.Class) || record.Fingerprint(a.id, cur.Credential()) != c.fingerprint {
			return record.Record{}, false
		}
		next := cur.Clone()
		next.Rotation.Claim = nil
		next = a.fallBack(next, f, e.Error(), last.At)
		next.Rotation.Last, next.Rotation.Dead = &last, nil
		if record.Fingerprint(a.id, next.Credential()) == c.fingerprint { // the same refresh token for another client: it is not dead
			next.Rotation.Last = nil
		}
		return next, true
	}
	return s.rewriteClaimed(a, c, change, func(cur stored) stored { return cur })
}

// settleFormer writes the outcome of a refresh whose credential an operator replaced meanwhile to where that is kept now.
func (s *Store) settleFormer(a *account, c *claimed, cur stored, f record.Failure) stored {
	former := cur.record.Former
	if former == nil || former.Claim == nil || former.Claim.AttemptID != c.attempt() {
		return cur
	}
	next := cur.record.Clone()
	if f.Doubtful {
		next.Former.Claim.Ambiguous = true
	} else {
		next.Former.Claim = nil
	}
	if f.Class == record.RefreshPermanent {
		next.Former = nil
	}
	saved, err := s.write(a.id, next, cur.version, record.NewID())
	if err != nil {
		return cur // it stays a claim that nobody ends: others wait for its lease
	}
	return saved
}

// rebased puts a rotation onto what somebody wrote meanwhile: in place of the spent credential, or behind the one that an operator
// gave the account.
func (a *account) rebased(cur record.Record, e JournalEntry) record.Record {
	if credential := record.Fingerprint(a.id, cur.Credential()); credential == e.Spent || a.isSpent(credential) || !record.Outlives(cur, e.Record) {
		return record.Graft(cur, e.Record)
	}
	next := record.Graft(cur, e.Record)
	next.RefreshToken, next.Scope, next.Rotation.Last = cur.RefreshToken, cur.Scope, cur.Rotation.Last
	next.Former = e.Record.AsFormer(time.Now())
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
