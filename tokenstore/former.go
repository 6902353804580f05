package tokenstore

import (
	"errors"
	"slices"
	"time"
)

// A credential that an operator gives to an account is a promise until it was exchanged once: it may be cut, another client's, dead.
// Until then the one it replaces is kept in the record, and the access token serves on. If the token endpoint refuses the new
// one, or it cannot be one at all, the former comes back. Like any credential it is never presented when it is known to be spent.

// Former is the credential in whose place an operator put another, until that has been exchanged once.
type Former struct {
	Kind         Kind
	ClientID     string
	ClientSecret Secret
	RefreshToken Secret
	Scope        string
	Since        time.Time // when it was replaced: for display
	Claim        *Claim    // of a refresh with it that was under way then, or that ended without a readable answer
}

// Rejection tells of a credential that was given to the account and did not work, so that the former one is in use again.
type Rejection struct {
	At          time.Time `json:"at"`
	Error       string    `json:"error"`                 // no secrets
	Fingerprint string    `json:"fingerprint,omitempty"` // of the rejected credential
}

// formerly is the record's credential as a former one.
func (r Record) formerly(since time.Time) *Former {
	f := &Former{Kind: r.Kind, ClientID: r.ClientID, ClientSecret: r.ClientSecret, RefreshToken: r.RefreshToken, Scope: r.Scope, Since: since.UTC()}
	if c := r.Rotation.Claim; c != nil {
		claim := *c
		f.Claim = &claim
	}
	return f
}

func (f *Former) clone() *Former {
	if f == nil {
		return nil
	}
	c := *f
	if f.Claim != nil {
		claim := *f.Claim
		c.Claim = &claim
	}
	return &c
}

// reinstated is the record with the former credential in its place again.
func (r Record) reinstated(f *Former) Record {
	next := r.Clone()
	next.Kind, next.ClientID, next.ClientSecret, next.RefreshToken, next.Scope = f.Kind, f.ClientID, f.ClientSecret, f.RefreshToken, f.Scope
	if !f.RefreshToken.Equal(r.RefreshToken) {
		next.Rotation.Claim = f.clone().Claim
	}
	next.Former = nil
	return next
}

// sameCredential reports whether two records refresh with the same secrets, as the same client.
func sameCredential(a, b Record) bool {
	return a.Kind == b.Kind && a.ClientID == b.ClientID && a.ClientSecret.Equal(b.ClientSecret) && a.RefreshToken.Equal(b.RefreshToken)
}

// usable reports whether a credential may come back to an account: it is one, and is neither dead nor spent as far as the record tells.
func (f *Former) usable(id AccountID, in Record) bool {
	r := in.reinstated(f)
	fingerprint := Fingerprint(id, r.Credential())
	if fingerprint == "" || Flaw(r) != nil || quarantined(id, r) != "" {
		return false
	}
	return !slices.Contains(in.Rotation.Spent, fingerprint)
}

// Replace returns next, the record of an account with what an operator changes in it, completed by what must outlive the change of
// a credential: the bookkeeping if there is none, else the former credential and the access token, until the new one has been exchanged.
func Replace(id AccountID, old, next Record, now time.Time) Record {
	next = next.Clone()
	next.Rotation, next.Former = old.Clone().Rotation, old.Former.clone()
	switch {
	case next.Provider != old.Provider:
		next.Former = nil
	case sameCredential(old, next) && old.APIKey.Equal(next.APIKey):
		return next
	case next.Former == nil:
		next.Former = old.formerly(now)
	}
	if !next.Credential().Equal(old.Credential()) {
		next.Rotation = Rotation{Incarnation: NewIncarnation(), Generation: old.Rotation.Generation, Spent: next.Rotation.Spent, Writer: "operator"}
	}
	next.Rotation.Rejected = nil
	next = givenBack(id, next)
	if f := next.Former; f != nil && !f.usable(id, old) {
		next.Former = nil
	}
	return next
}

// WithoutToken returns the record without an access token.
func (r Record) WithoutToken() Record {
	r = r.Clone()
	r.AccessToken, r.TokenType, r.ExpiresAt, r.ObtainedAt = Secret{}, "", time.Time{}, time.Time{}
	return r
}

// replacedLocked notes that the record shows another credential than before. If an operator gave it, by hand perhaps, memory keeps the
// former one for the next claim to write down: the latest that was in use, not one that was never exchanged.
func (a *account) replacedLocked(before Record) {
	switch {
	case !a.rotated:
		a.former = nil
	case before.Former != nil:
		a.former = before.Former
	case a.former == nil:
		a.former = before.formerly(time.Now())
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

// givenBack is a record in which an operator has put the former credential back by hand: it needs no proof.
func givenBack(id AccountID, r Record) Record {
	f := r.Former
	if f == nil || !sameCredential(r, r.reinstated(f)) {
		return r
	}
	next := r.Clone()
	next.Former = nil
	if c := r.Rotation.Claim; f.Claim != nil && (c == nil || c.Fingerprint != Fingerprint(id, r.Credential())) {
		next.Rotation.Claim = f.clone().Claim
	}
	return next
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

// fellBack reports whether a record shows the former credential again since another, by its fingerprint, was rejected.
func fellBack(id AccountID, r Record, other string) bool {
	rejected := r.Rotation.Rejected
	return rejected != nil && rejected.Fingerprint == other && other != Fingerprint(id, r.Credential())
}

// rejects reports whether a refusal says that the new credential is no good. That the client is unknown says so only if it is another
// client than before.
func rejects(r Record, f *Former, class RefreshClass) bool {
	switch class {
	case RefreshPermanent:
		return true
	case RefreshMisconfigured:
		return r.Kind != f.Kind || r.ClientID != f.ClientID || !r.ClientSecret.Equal(f.ClientSecret) || r.Scope != f.Scope
	case RefreshNotSent, RefreshTransient, RefreshUnknown:
	}
	return false
}

// retreat brings the former credential back after the new one was refused. It reports whether that is saved.
func (s *Store) retreat(a *account, c *claimed, e *RefreshError, last *Outcome) bool {
	cur := c.stored
	for range 5 {
		f := s.former(a, cur.record)
		if f == nil || !rejects(cur.record, f, e.Class) || Fingerprint(a.id, cur.record.Credential()) != c.fingerprint {
			return false
		}
		next := cur.record.Clone()
		next.Rotation.Claim = nil
		next = a.fallBack(next, f, e.Error(), last.At)
		next.Rotation.Last = last
		if Fingerprint(a.id, next.Credential()) == c.fingerprint { // the same refresh token for another client: it is not dead
			next.Rotation.Last = nil
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
		if cur, err = s.load(a.id); err != nil {
			return false
		}
		if now := cur.record.Rotation.Claim; now == nil || now.AttemptID != c.attempt() {
			s.take(a, cur)
			return false
		}
	}
	return false
}

// settleFormer writes the outcome of a refresh whose credential an operator replaced meanwhile to where that is kept now.
func (s *Store) settleFormer(a *account, c *claimed, cur stored, last *Outcome) stored {
	f := cur.record.Former
	if f == nil || f.Claim == nil || f.Claim.AttemptID != c.attempt() {
		return cur
	}
	next := cur.record.Clone()
	if last.Class == RefreshUnknown {
		next.Former.Claim.Ambiguous = true
	} else {
		next.Former.Claim = nil
	}
	if last.Class == RefreshPermanent {
		next.Former = nil
	}
	saved, err := s.write(a.id, next, cur.version, newID())
	if err != nil {
		return cur // it stays a claim that nobody ends: others wait for its lease
	}
	return saved
}

// outlives reports whether a rotation is still worth keeping in a record whose credential an operator replaced during the refresh: as
// the former one, which the new one has yet to match.
func outlives(cur, rotated Record) bool {
	same := cur.Rotation.Incarnation == rotated.Rotation.Incarnation || cur.Former != nil
	return same && cur.Rotation.Generation < rotated.Rotation.Generation && cur.Provider == rotated.Provider && !cur.Credential().IsZero()
}

// rebased puts a rotation onto what somebody wrote meanwhile: in place of the spent credential, or behind the one that an operator
// gave the account.
func (a *account) rebased(cur Record, e JournalEntry) Record {
	if credential := Fingerprint(a.id, cur.Credential()); credential == e.Spent || a.isSpent(credential) || !outlives(cur, e.Record) {
		return graft(cur, e.Record)
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
