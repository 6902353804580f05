package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Slip is a key of a record whose value breaks its rule. What counts instead is in the record's field: the key's last
// good value where one is known, else its default, or what could be read of it.
type Slip struct {
	Key  string // as the record has it, e.g. labels or limits.rpm
	Rule string //
	// what stands there, kept on every write; nil: nothing does. Never shown, since it may be secret
	Raw      json.RawMessage
	InForce  json.RawMessage // how the record's field would be written: while it is that, Raw stays
	LastGood bool            // the field holds the key's last good value
}

// String is the remark, so that nothing prints what stands there.
func (s Slip) String() string { return s.Remark() }

// top is the key of the record that the slip is in.
func (s Slip) top() string {
	top, _, _ := strings.Cut(s.Key, ".")
	return top
}

// breaks reports a key without which nobody can use a record of this kind: whom it belongs to, and its credential.
func (s Slip) breaks(kind Kind) bool {
	switch s.Key {
	case "provider", "type", "rotation.format":
		return true
	case "api_key":
		return kind == KindAPIKey
	case "client_secret":
		return kind != KindAPIKey
	case "refresh_token":
		return kind != KindAPIKey && kind != KindClientCredentials
	}
	return false
}

// Closes reports a key whose default must not stand in for its last good value: it would open the account to others,
// or present its credential in another client's name.
func (s Slip) Closes() bool {
	return !s.LastGood && (s.Key == "tenant" || s.Key == "pools" || s.Key == "client_id")
}

// Remark says what is wrong and what counts meanwhile.
func (s Slip) Remark() string {
	what := "its default counts"
	switch {
	case s.Key == "provider" || s.Key == "type" || s.Key == "rotation.format" || s.Closes():
		return fmt.Sprintf("config_error in key %s: %s", s.Key, s.Rule)
	case s.LastGood:
		what = "its last good value counts"
	case s.Key == "state":
		what = "the account is held"
	}
	return fmt.Sprintf("config_error in key %s: %s; until it is mended %s", s.Key, s.Rule, what)
}

// Legible reports whether a load gave a record that the service can write its own keys onto.
func Legible(r Record, err error) bool {
	return err == nil || errors.Is(err, ErrUnreadable) && len(r.Slips) > 0
}

// Slipped reports whether a top-level key of the record is a slip.
func (r Record) Slipped(key string) bool {
	return slices.ContainsFunc(r.Slips, func(s Slip) bool { return s.top() == key })
}

// Mend forgets the slips in keys that are about to be written.
func (r *Record) Mend(keys ...string) {
	r.Slips = slices.DeleteFunc(slices.Clone(r.Slips), func(s Slip) bool { return slices.Contains(keys, s.top()) })
	if len(r.Slips) == 0 {
		r.Slips = nil
	}
}

// Settled is the record without the slips whose keys were given another value since.
func (r Record) Settled() Record {
	if len(r.Slips) == 0 {
		return r
	}
	known, err := knownKeys(r)
	for _, s := range r.Slips {
		if err == nil && !bytes.Equal(known[s.top()], s.InForce) {
			r.Mend(s.top())
		}
	}
	return r
}

// Broken is the error of a record that nobody can use.
func (r Record) Broken() error {
	return r.FirstSlip(func(s Slip) bool { return s.breaks(r.Kind) })
}

// Faultless reports the first slip of a record that is about to be stored, as a *Error.
func (r Record) Faultless() error {
	return r.FirstSlip(func(Slip) bool { return true })
}

// FirstSlip reports the first slip for which is holds, as a *Error; nil: there is none.
func (r Record) FirstSlip(is func(Slip) bool) error {
	if i := slices.IndexFunc(r.Slips, is); i >= 0 {
		s := r.Slips[i]
		return &Error{Key: s.Key, Rule: strings.Join(append([]string{s.Rule}, hintsFor(r, s.Key)...), "; ")}
	}
	return nil
}

// noteInForce notes how the slipped keys' fields would be written.
func (r *Record) noteInForce() {
	if len(r.Slips) == 0 {
		return
	}
	known, _ := knownKeys(*r) // what was read can be written
	for i := range r.Slips {
		r.Slips[i].InForce = known[r.Slips[i].top()]
	}
}

// StandIn puts the last good values of slipped keys into r, as far as before, the account's record in memory, has them
// and is of the same life: a record that was made anew for somebody else must not serve as its predecessor did.
func StandIn(id ID, r, before Record) Record {
	if len(r.Slips) == 0 || !sameLife(id, r, before) {
		return r
	}
	r = r.Clone()
	sameCredential := r.Credential().Equal(before.Credential()) || r.Rotation.Generation > before.Rotation.Generation
	for i := range r.Slips {
		s := &r.Slips[i]
		if slices.ContainsFunc(before.Slips, func(b Slip) bool { return b.top() == s.top() && !b.LastGood }) {
			continue // memory's was no good value either
		}
		s.LastGood = r.takeFrom(before, s.top(), sameCredential)
	}
	r.noteInForce()
	return r
}

// sameLife reports whether two records are one account's, edited or refreshed in between.
func sameLife(id ID, r, before Record) bool {
	if before.Provider == "" {
		return false
	}
	is, was := r.Rotation, before.Rotation
	if is.Incarnation != "" && was.Incarnation != "" {
		return is.Incarnation == was.Incarnation
	}
	shown, known := Fingerprint(id, r.Credential()), Fingerprint(id, before.Credential())
	return shown == known || slices.Contains(was.Spent, shown) || slices.Contains(is.Spent, known)
}

// takeFrom takes over a key's value and reports whether it counts as the key's last good one.
func (r *Record) takeFrom(before Record, key string, sameCredential bool) bool {
	switch key {
	case "pools":
		r.Pools = slices.Clone(before.Pools)
	case "tenant":
		r.Tenant = before.Tenant
	case "labels":
		labels := maps.Clone(before.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, r.Labels)
		r.Labels = labels
	case "limits":
		r.Limits = Limits{RPM: before.Limits.RPM, Concurrency: before.Limits.Concurrency, Extra: r.Limits.Extra}
	case "state":
		r.State = before.State
	case "scope":
		r.Scope = before.Scope
	case "token_type":
		r.TokenType = before.TokenType
	case "access_token":
		r.AccessToken, r.ExpiresAt, r.ObtainedAt = before.AccessToken, before.ExpiresAt, before.ObtainedAt
	case "expires_at":
		if !r.AccessToken.Equal(before.AccessToken) {
			return false
		}
		r.ExpiresAt = before.ExpiresAt
	case "obtained_at":
		if !r.AccessToken.Equal(before.AccessToken) {
			return false
		}
		r.ObtainedAt = before.ObtainedAt
	case "client_id":
		if !sameCredential {
			return false
		}
		r.ClientID = before.ClientID
	case "rotation":
		r.Rotation.keepFrom(before.Rotation)
	default:
		return false
	}
	return true
}

// keepFrom fills in what could not be read of the service's bookkeeping.
func (r *Rotation) keepFrom(before Rotation) {
	if r.Incarnation == "" {
		r.Incarnation = before.Incarnation
	}
	if r.Last == nil {
		r.Last = before.Last
	}
	if r.Dead == nil {
		r.Dead = before.Dead
	}
	if r.Resumed == "" {
		r.Resumed = before.Resumed
	}
	if len(r.Spent) == 0 {
		r.Spent = slices.Clone(before.Spent)
	}
	r.Generation = max(r.Generation, before.Generation)
}
