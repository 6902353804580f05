package tokenstore

import (
	"time"
)

// A credential is judged by all that is known of it: a success or another credential clears it, a later failure of
// another kind does not. What is known is in the record, bound to the credential's fingerprint, so that it survives
// restarts.

const (
	refusalsToDeath = 3             // refusals in words that we do not know, and
	refusedToDeath  = 2 * time.Hour // for how long, until a human is asked; whose clock wrote the first one matters little
	recheckLeast    = time.Hour     // such a conclusion is put to the test after as long as it is old, within these bounds
	recheckMost     = 6 * time.Hour
)

// Dead marks a credential that only a human can replace.
type Dead struct {
	Fingerprint string    `json:"fingerprint"` // of the credential: another one makes it history
	At          time.Time `json:"at"`
	Error       string    `json:"error,omitempty"` // what the token endpoint said

	// Guessed: it was refused for hours in words that prove nothing. It is tried again now and then.
	Guessed bool `json:"guessed,omitempty"`
}

// failure is an outcome that is to be written into a record.
type failure struct {
	Outcome
	refused bool // the token endpoint refused the grant, in whatever words
	living  bool // the access token serves on
	// doubtful: the credential may be spent, by this attempt or by one before it that this one did not clear up
	doubtful bool
}

// fail writes a failure into the record, and what follows from it and all before.
func (r *Record) fail(id AccountID, f failure) {
	dead, o := deadOf(id, *r), f.Outcome
	o.carryOn(r.Rotation.Last)
	if f.refused {
		if o.Refusals++; o.Refusals == 1 {
			o.RefusedSince = o.At
		}
	}
	lasting := o.Refusals >= refusalsToDeath && o.At.Sub(o.RefusedSince) >= refusedToDeath
	switch {
	case o.Class == RefreshPermanent, dead == nil && f.refused && lasting && !f.living:
		dead = &Dead{Fingerprint: o.Fingerprint, At: o.At, Error: o.Error, Guessed: o.Class != RefreshPermanent}
	case dead != nil && dead.Guessed && f.refused:
		latest := *dead
		latest.Error = o.Error
		dead = &latest
	}
	r.Rotation.Last, r.Rotation.Dead = &o, dead
}

// carryOn makes a failure part of the run of failures that the record's latest outcome is the end of, if it is.
func (o *Outcome) carryOn(prev *Outcome) {
	o.FailingSince = o.At
	if prev == nil || prev.Result != "failed" || prev.Fingerprint != o.Fingerprint {
		return
	}
	if o.FailingSince = prev.FailingSince; o.FailingSince.IsZero() { // an earlier version wrote it
		o.FailingSince = prev.At
	}
	o.Refusals, o.RefusedSince = prev.Refusals, prev.RefusedSince
}

// refused reports whether the token endpoint, or what stands before it, refused the grant: a 4xx that is no matter of
// time, or an error in a success.
func (e *RefreshError) refused() bool {
	switch e.Status {
	case 407, 408, 425, 429, 499: // a proxy's login, timeouts, limits, a client that left
		return false
	}
	return e.Status >= 400 && e.Status < 500 || e.Status >= 200 && e.Status < 300 && e.Code != ""
}

// deadOf is what the record knows against its credential; nil: it may live.
func deadOf(id AccountID, r Record) *Dead {
	now := Fingerprint(id, r.Credential())
	if d := r.Rotation.Dead; d != nil && d.Fingerprint == now {
		return d
	}
	last := r.Rotation.Last // where earlier versions wrote it
	if last == nil || last.Class != RefreshPermanent || last.Fingerprint != now || last.Error == condemnedByAnswers {
		return nil
	}
	return &Dead{Fingerprint: now, At: last.At, Error: last.Error}
}

// quarantined says why the record's credential is dead, "" if it is not known to be.
func quarantined(id AccountID, r Record) string {
	switch d := deadOf(id, r); {
	case d == nil:
		return ""
	case d.Guessed:
		return "the token endpoint has refused every refresh for hours: " + d.Error
	default:
		return "the credential was refused for good: " + d.Error
	}
}

// recheckAt is when a credential is tried again that was only concluded to be dead; zero: it is not to be.
func recheckAt(id AccountID, r Record) time.Time {
	d := deadOf(id, r)
	if d == nil || !d.Guessed {
		return time.Time{}
	}
	last := d.At
	if r.Rotation.Last != nil {
		last = later(last, r.Rotation.Last.At)
	}
	return last.Add(min(max(last.Sub(d.At), recheckLeast), recheckMost))
}

// diagnoseLocked derives from the record, and from a death that could not be written into it, whether the credential is
// dead.
func (a *account) diagnoseLocked() {
	r, last := a.record, a.record.Rotation.Last
	if d := a.unsavedDead; d != nil {
		revived := last != nil && last.Result == "succeeded" && last.At.After(d.At)
		if r.Rotation.Dead = d; revived || deadOf(a.id, a.record) != nil || deadOf(a.id, r) != d {
			r, a.unsavedDead = a.record, nil
		}
	}
	a.quarantine, a.recheck = quarantined(a.id, r), recheckAt(a.id, r)
	if a.mended && !a.recheck.IsZero() {
		a.recheck = deadOf(a.id, r).At // long past
	}
}

// condemn keeps in memory what a failure that could not be written says of the credential.
func (a *account) condemn(r Record, f failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := r.Clone()
	next.fail(a.id, f)
	a.unsavedDead = deadOf(a.id, next)
	a.diagnoseLocked()
	a.convictLocked()
}

func (a *account) condemned() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quarantine != ""
}

// written notes that the latest failure is in the record.
func (a *account) written() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unwritten = Outcome{}
}

// serves reports whether the account's token lives, wherever else it may be benched.
func (a *account) serves(now time.Time) bool {
	t := a.token.Load()
	return t != nil && now.UnixNano() < t.usableUntil && !t.refused.Load()
}

// failing says since when refreshes with the record's credential fail, and why the latest did; zero: they do not.
func failing(id AccountID, r Record) (since time.Time, why string) {
	last := r.Rotation.Last
	if last == nil || last.Result != "failed" || last.Error == condemnedByAnswers {
		return time.Time{}, ""
	}
	if last.Fingerprint != "" && last.Fingerprint != Fingerprint(id, r.Credential()) {
		return time.Time{}, ""
	}
	if last.FailingSince.IsZero() { // an earlier version wrote it
		return last.At, last.Error
	}
	return last.FailingSince, last.Error
}

// failingLocked is failing with what this process knows besides: failures that could not be written.
func (a *account) failingLocked() (since time.Time, why string) {
	since, why = failing(a.id, a.record)
	if f := a.unwritten; !f.FailingSince.IsZero() {
		if why = f.Error; since.IsZero() || f.FailingSince.Before(since) {
			since = f.FailingSince
		}
	}
	return since, why
}

// waitingLocked says whose claim the account's refresh waits for; "" when for none.
func (a *account) waitingLocked() string {
	c := a.record.Rotation.Claim
	if a.flight == nil || c == nil || c.AttemptID != a.claimSeen {
		return ""
	}
	return "its refresh waits for another process, " + c.Holder + ", to finish the one that it has begun"
}
