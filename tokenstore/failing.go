package tokenstore

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// A credential is judged by all that is known of it: a success or another credential clears it, a later failure of
// another kind does not. What is known is in the record, bound to the credential's fingerprint, so that it survives
// restarts.

// refused reports whether the token endpoint, or what stands before it, refused the grant: a 4xx that is no matter of
// time, or an error in a success.
func (e *RefreshError) refused() bool {
	switch e.Status {
	case 407, 408, 425, 429, 499: // a proxy's login, timeouts, limits, a client that left
		return false
	}
	return e.Status >= 400 && e.Status < 500 || e.Status >= 200 && e.Status < 300 && e.Code != ""
}

// diagnoseLocked derives from the record, and from a death that could not be written into it, whether the credential is
// dead.
func (a *account) diagnoseLocked() {
	r, last := a.record, a.record.Rotation.Last
	if d := a.unsavedDead; d != nil {
		revived := last != nil && last.Result == "succeeded" && last.At.After(d.At)
		if r.Rotation.Dead = d; revived || record.DeadOf(a.id, a.record) != nil || record.DeadOf(a.id, r) != d {
			r, a.unsavedDead = a.record, nil
		}
	}
	a.quarantine, a.recheck = record.Quarantined(a.id, r), record.RecheckAt(a.id, r)
	if a.mended && !a.recheck.IsZero() {
		a.recheck = record.DeadOf(a.id, r).At // long past
	}
}

// condemn keeps in memory what a failure that could not be written says of the credential.
func (a *account) condemn(r record.Record, f record.Failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := r.Clone()
	next.Fail(a.id, f)
	a.unsavedDead = record.DeadOf(a.id, next)
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
	a.unwritten = record.Outcome{}
}

// serves reports whether the account's token lives, wherever else it may be benched.
func (a *account) serves(now time.Time) bool {
	t := a.token.Load()
	return t != nil && now.UnixNano() < t.usableUntil && !t.refused.Load()
}

// failingLocked is failing with what this process knows besides: failures that could not be written.
func (a *account) failingLocked() (since time.Time, why string) {
	since, why = record.Failing(a.id, a.record)
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
