package record

import (
	"slices"
	"time"
)

// A credential that an operator gives to an account is a promise until it was exchanged once: it may be cut, another
// client's, dead. Until then the one it replaces is kept in the record, and the access token serves on. If the token
// endpoint refuses the new one, or it cannot be one at all, the former comes back. Like any credential it is never
// presented when it is known to be spent.

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

// Rejection tells of a credential that was given to the account and did not work, so that the former one is in use
// again.
type Rejection struct {
	At          time.Time `json:"at"`
	Error       string    `json:"error"`                 // no secrets
	Fingerprint string    `json:"fingerprint,omitempty"` // of the rejected credential
}

// AsFormer is the record's credential as a former one.
func (r Record) AsFormer(since time.Time) *Former {
	f := &Former{
		Kind:         r.Kind,
		ClientID:     r.ClientID,
		ClientSecret: r.ClientSecret,
		RefreshToken: r.RefreshToken,
		Scope:        r.Scope,
		Since:        since.UTC(),
	}
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

// Reinstated is the record with the former credential in its place again.
func (r Record) Reinstated(f *Former) Record {
	next := r.Clone()
	next.Kind, next.ClientID, next.ClientSecret = f.Kind, f.ClientID, f.ClientSecret
	next.RefreshToken, next.Scope = f.RefreshToken, f.Scope
	if !f.RefreshToken.Equal(r.RefreshToken) {
		next.Rotation.Claim = f.clone().Claim
	}
	next.Former = nil
	return next
}

// SameCredential reports whether two records refresh with the same secrets, as the same client.
func SameCredential(a, b Record) bool {
	return a.Kind == b.Kind && a.ClientID == b.ClientID && a.ClientSecret.Equal(b.ClientSecret) &&
		a.RefreshToken.Equal(b.RefreshToken)
}

// Usable reports whether a credential may come back to an account: it is one, and is neither dead nor spent as far as
// the record tells.
func (f *Former) Usable(id ID, in Record) bool {
	r := in.Reinstated(f)
	fingerprint := Fingerprint(id, r.Credential())
	if fingerprint == "" || Flaw(r) != nil || Quarantined(id, r) != "" {
		return false
	}
	return !slices.Contains(in.Rotation.Spent, fingerprint)
}

// Replace returns next, the record of an account with what an operator changes in it, completed by what must outlive
// the change of a credential: the bookkeeping if there is none, else the former credential and the access token, until
// the new one has been exchanged.
func Replace(id ID, old, next Record, now time.Time) Record {
	next = next.Clone()
	next.Rotation, next.Former = old.Clone().Rotation, old.Former.clone()
	switch {
	case next.Provider != old.Provider:
		next.Former = nil
	case SameCredential(old, next) && old.APIKey.Equal(next.APIKey):
		return next
	case next.Kind == KindAPIKey:
		next.Former = nil // a key serves at once: there is nothing to exchange it for
	case next.Former == nil:
		next.Former = old.AsFormer(now)
	}
	if !next.Credential().Equal(old.Credential()) {
		next.Rotation = Rotation{
			Incarnation: NewIncarnation(),
			Generation:  old.Rotation.Generation,
			Spent:       next.Rotation.Spent,
			Writer:      "operator",
		}
	}
	next.Rotation.Rejected = nil
	next = GivenBack(id, next)
	if f := next.Former; f != nil && !f.Usable(id, old) {
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

// OfItsKind is what counts of a record whose type is a key: not the access token that a former type has left in it,
// whose end is not the key's, nor what became of that one's refreshes.
func (r Record) OfItsKind() Record {
	if r.Kind != KindAPIKey {
		return r
	}
	r = r.Clone()
	if !r.AccessToken.IsZero() {
		r = r.WithoutToken()
	}
	r.Former, r.Rotation.Claim, r.Rotation.Dead, r.Rotation.Last, r.Rotation.Rejected = nil, nil, nil, nil, nil
	return r
}

// GivenBack is a record in which an operator has put the former credential back by hand: it needs no proof.
func GivenBack(id ID, r Record) Record {
	f := r.Former
	if f == nil || !SameCredential(r, r.Reinstated(f)) {
		return r
	}
	next := r.Clone()
	next.Former = nil
	if c := r.Rotation.Claim; f.Claim != nil && (c == nil || c.Fingerprint != Fingerprint(id, r.Credential())) {
		next.Rotation.Claim = f.clone().Claim
	}
	return next
}

// FellBack reports whether a record shows the former credential again since another, by its fingerprint, was rejected.
func FellBack(id ID, r Record, other string) bool {
	rejected := r.Rotation.Rejected
	return rejected != nil && rejected.Fingerprint == other && other != Fingerprint(id, r.Credential())
}

// Rejects reports whether a refusal says that the new credential is no good. That the client is unknown says so only if
// it is another client than before.
func Rejects(r Record, f *Former, class RefreshClass) bool {
	switch class {
	case RefreshPermanent:
		return true
	case RefreshMisconfigured:
		return r.Kind != f.Kind || r.ClientID != f.ClientID || !r.ClientSecret.Equal(f.ClientSecret) || r.Scope != f.Scope
	case RefreshNotSent, RefreshTransient, RefreshUnknown:
	}
	return false
}

// Outlives reports whether a rotation is still worth keeping in a record whose credential an operator replaced during
// the refresh: as the former one, which the new one has yet to match.
func Outlives(cur, rotated Record) bool {
	same := cur.Rotation.Incarnation == rotated.Rotation.Incarnation || cur.Former != nil
	return same && cur.Rotation.Generation < rotated.Rotation.Generation && cur.Provider == rotated.Provider &&
		!cur.Credential().IsZero()
}
