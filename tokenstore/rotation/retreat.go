package rotation

import (
	"errors"
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// This file is what an account does with a former credential: know it, go back to it, or let it go.

// noteFormer notes that the record shows another credential than before. If an operator gave it, memory keeps the
// former one for the next claim to write down, unless the record tells it: an edit by hand does not. The former one is
// the latest that has been exchanged: a credential that was never proven is nobody's former one.
func (l *lifecycle) noteFormer(before record.Record, now time.Time) {
	c := &l.credential
	f := before.AsFormer(now)
	claim := l.record.Rotation.Claim
	if claim != nil && claim.Fingerprint == record.Fingerprint(l.id, before.Credential()) { // its refresh is under way
		copied := *claim
		f.Claim = &copied
	}
	switch {
	case !c.given, before.Provider != l.record.Provider:
		c.former = nil
	case before.Former != nil:
		c.former = before.Former
	case len(l.formers(l.record)) == 0 && !l.dead() && f.Usable(l.id, before): // else the record tells it
		c.former = f
	}
}

// carry gives a record that an operator wrote anew the access token that memory still serves from.
func (l *lifecycle) carry(r *record.Record, replaced bool) {
	was := l.record
	same := was.Provider == r.Provider && was.Kind == r.Kind
	if r.AccessToken.IsZero() && !was.AccessToken.IsZero() && (replaced || l.credential.given) && same {
		r.AccessToken, r.TokenType, r.ExpiresAt, r.ObtainedAt = was.AccessToken, was.TokenType, was.ExpiresAt, was.ObtainedAt
	}
}

// keepKey has an account go on with the API key of memory when the record shows one that cannot be a key. A key is not
// exchanged, so there is no former one in the record to go back to.
func (l *lifecycle) keepKey(r *record.Record) {
	if l.credential.flaw == nil || r.Kind != record.KindAPIKey {
		return
	}
	was := l.record
	if was.Kind == r.Kind && was.Provider == r.Provider && record.Flaw(was) == nil && !was.APIKey.IsZero() {
		r.APIKey = was.APIKey
	}
}

// formers are the credentials that may come back in place of the record's, as far as the account itself knows, the best
// first.
func (l *lifecycle) formers(r record.Record) []*record.Former {
	spent := func(f *record.Former) bool {
		return l.memory.isSpent(record.Fingerprint(l.id, r.Reinstated(f).Credential()))
	}
	return slices.DeleteFunc([]*record.Former{l.credential.former, r.Former}, func(f *record.Former) bool {
		return f == nil || spent(f) || !f.Usable(l.id, r)
	})
}

// former is the best credential that may come back in place of the record's, other accounts considered; nil: none.
func (k *Keeper) former(a *Account, r record.Record) *record.Former {
	l := a.look()
	for _, f := range l.formers(r) {
		if k.elsewhere(a, r.Reinstated(f)) == nil {
			return f
		}
	}
	return nil
}

// isGiven reports whether the credential in the record, which is another than before's, is new to the account. It is
// not when the former one is back: since a peer saw the other rejected, or by an operator's hand.
func (l *lifecycle) isGiven(before record.Record) bool {
	no, known := l.record.Rotation.Rejected, before.Rotation.Rejected
	isNews := no != nil && (known == nil || !known.At.Equal(no.At))
	if isNews && record.FellBack(l.id, l.record, record.Fingerprint(l.id, before.Credential())) {
		return false
	}
	f := before.Former
	if f == nil {
		f = l.credential.former
	}
	return f == nil || !l.record.Credential().Equal(before.Reinstated(f).Credential())
}

// complete adds to a record that was just read what memory knows of its former credential, for the next write to keep.
// A credential that cannot be used gives way to the former at once.
func (k *Keeper) complete(a *Account, r record.Record) record.Record {
	r = record.GivenBack(a.id, r)
	f, l := k.former(a, r), a.look()
	l.carry(&r, false)
	switch {
	case f == nil:
		return r
	case l.unfit() != nil:
		return fallBack(a.id, r, f, ruleOf(l.unfit()), time.Now())
	case l.dead() && l.record.Credential().Equal(r.Credential()): // so another process found it, and knew of no former
		return fallBack(a.id, r, f, l.death.quarantine, time.Now())
	case l.credential.given || r.Former != nil:
		r.Former = f
	}
	return r
}

// fallBack is the record with its former credential, and what became of the other.
func fallBack(id record.ID, r record.Record, f *record.Former, why string, now time.Time) record.Record {
	next := r.Reinstated(f)
	next.Rotation.Rejected = &record.Rejection{
		At: now.UTC(), Error: record.Clip(why), Fingerprint: record.Fingerprint(id, r.Credential()),
	}
	return next
}

// unproven reports whether an operator gave the account a credential that has not been exchanged yet.
func (l *lifecycle) unproven() bool { return l.credential.given || l.record.Former != nil }

// ruleOf is an error of a record's key without the words around it.
func ruleOf(err error) string {
	if e, ok := errors.AsType[*record.Error](err); ok {
		return e.Key + " " + e.Rule
	}
	return err.Error()
}

// retreat brings the former credential back after the new one was refused. It reports whether that is saved.
func (k *Keeper) retreat(a *Account, c *claimed, e *RefreshError, last record.Outcome) bool {
	change := func(cur record.Record) (record.Record, bool) {
		f := k.former(a, cur)
		if f == nil || !record.Rejects(cur, f, e.Class) || record.Fingerprint(a.id, cur.Credential()) != c.fingerprint {
			return record.Record{}, false
		}
		next := cur.Clone()
		next.Rotation.Claim = nil
		next = fallBack(a.id, next, f, e.Error(), last.At)
		next.Rotation.Last, next.Rotation.Dead = &last, nil
		if record.Fingerprint(a.id, next.Credential()) == c.fingerprint { // it was refused for another client: it is not dead
			next.Rotation.Last = nil
		}
		return next, true
	}
	return k.rewriteClaimed(a, c, change, func(cur stored) stored { return cur })
}

// settleFormer writes the outcome of a refresh whose credential an operator replaced meanwhile to where that is kept
// now.
func (k *Keeper) settleFormer(a *Account, c *claimed, cur stored, f record.Failure) stored {
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
	saved, err := k.write(a.id, next, cur.version, record.NewID())
	if err != nil {
		return cur // it stays a claim that nobody ends: others wait for its lease
	}
	return saved
}

// rebased puts a rotation onto what somebody wrote meanwhile: in place of the spent credential, or, if an operator gave
// the account another one, behind that as its former credential.
func (l *lifecycle) rebased(cur record.Record, e JournalEntry, now time.Time) record.Record {
	next, credential := record.Graft(cur, e.Record), record.Fingerprint(l.id, cur.Credential())
	claim := cur.Rotation.Claim // another's; ours is over
	if claim != nil && claim.AttemptID == e.Attempt {
		claim = nil
	}
	if credential == e.Spent || l.memory.isSpent(credential) || !record.Outlives(cur, e.Record) {
		if claim != nil && claim.Fingerprint == record.Fingerprint(l.id, next.Credential()) {
			next.Rotation.Claim = claim // the refresh did not rotate, and another is about to spend the credential
		}
		return next
	}
	// The operator's credential stays in front. What is grafted already, the access token and its generation, serves
	// on.
	next.RefreshToken, next.Scope, next.Rotation.Last = cur.RefreshToken, cur.Scope, cur.Rotation.Last
	next.Former = e.Record.AsFormer(now)
	if cur.Former != nil {
		next.Former.Since = cur.Former.Since
	}
	if claim != nil {
		next.Rotation.Claim = claim
	}
	if cur.ObtainedAt.After(e.Record.ObtainedAt) {
		next.AccessToken, next.TokenType = cur.AccessToken, cur.TokenType
		next.ObtainedAt, next.ExpiresAt = cur.ObtainedAt, cur.ExpiresAt
	}
	return next
}
