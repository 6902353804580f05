package record

import "time"

// RefreshClass says why a refresh failed, and so what is known about the refresh token.
type RefreshClass string

// Classes of refresh failures.
const (
	// RefreshNotSent: the token endpoint surely did not process the request (DNS, dial, TLS, an HTTP/2 stream that was
	// turned away). Nothing is spent.
	RefreshNotSent RefreshClass = "not_sent"
	// RefreshTransient: the token endpoint answered and refused for now (429, temporarily_unavailable, a bare 503, a 4xx
	// in words that prove nothing).
	RefreshTransient RefreshClass = "refused_transient"
	// RefreshPermanent: this credential is dead (invalid_grant and its dialects). Needs a human.
	RefreshPermanent RefreshClass = "refused_permanent"
	// RefreshMisconfigured: our configuration is wrong (invalid_client, unauthorized_client, invalid_scope,
	// unsupported_grant_type, invalid_request). The credential may well be alive.
	RefreshMisconfigured RefreshClass = "misconfigured"
	// RefreshUnknown: the request was sent, and no answer came that says whether the grant was processed; a single-use
	// credential may be spent.
	RefreshUnknown RefreshClass = "unknown"
)

// Trigger says who asked for a refresh.
type Trigger string

// Triggers of refreshes.
const (
	TriggerSchedule Trigger = "schedule" // renewal, ahead of expiry
	TriggerResponse Trigger = "response" // a provider refused the token
	TriggerRequest  Trigger = "request"  // a pick found the token expired
	TriggerOperator Trigger = "operator" // admin API, command line
)

// Outcome is the result of the latest refresh.
type Outcome struct {
	At      time.Time    `json:"at"`
	Trigger Trigger      `json:"trigger"`
	Result  string       `json:"result"` // succeeded | failed
	Class   RefreshClass `json:"class,omitempty"`
	Status  int          `json:"upstream_status,omitempty"` // HTTP status of the token endpoint
	// reduced to protocol fields, at most 256 characters, no secrets
	Error string `json:"error,omitempty"`
	// of the credential that was used: a new credential makes it history
	Fingerprint string `json:"fingerprint,omitempty"`

	// Of the failures since the latest success with this credential: the first, and those that were refusals.
	FailingSince time.Time `json:"failing_since,omitzero"`
	Refusals     int       `json:"refusals,omitempty"`
	RefusedSince time.Time `json:"refused_since,omitzero"`
}

// What it takes to call a credential dead without a word that says so.
const (
	RefusalsToDeath = 3             // refusals in words that we do not know, and
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

// Failure is an outcome that is to be written into a record.
type Failure struct {
	Outcome
	Refused bool // the token endpoint refused the grant, in whatever words
	Living  bool // the access token serves on
	// doubtful: the credential may be spent, by this attempt or by one before it that this one did not clear up
	Doubtful bool
}

// Fail writes a failure into the record, and what follows from it and all before.
func (r *Record) Fail(id ID, f Failure) {
	dead, o := DeadOf(id, *r), f.Outcome
	o.CarryOn(r.Rotation.Last)
	if f.Refused {
		if o.Refusals++; o.Refusals == 1 {
			o.RefusedSince = o.At
		}
	}
	lasting := o.Refusals >= RefusalsToDeath && o.At.Sub(o.RefusedSince) >= refusedToDeath
	switch {
	case o.Class == RefreshPermanent, dead == nil && f.Refused && lasting && !f.Living:
		dead = &Dead{Fingerprint: o.Fingerprint, At: o.At, Error: o.Error, Guessed: o.Class != RefreshPermanent}
	case dead != nil && dead.Guessed && f.Refused:
		latest := *dead
		latest.Error = o.Error
		dead = &latest
	}
	r.Rotation.Last, r.Rotation.Dead = &o, dead
}

// CarryOn makes a failure part of the run of failures that the record's latest outcome is the end of, if it is.
func (o *Outcome) CarryOn(prev *Outcome) {
	o.FailingSince = o.At
	if prev == nil || prev.Result != "failed" || prev.Fingerprint != o.Fingerprint {
		return
	}
	if o.FailingSince = prev.FailingSince; o.FailingSince.IsZero() { // an earlier version wrote it
		o.FailingSince = prev.At
	}
	o.Refusals, o.RefusedSince = prev.Refusals, prev.RefusedSince
}

// DeadOf is what the record knows against its credential; nil: it may live.
func DeadOf(id ID, r Record) *Dead {
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

// Quarantined says why the record's credential is dead, "" if it is not known to be.
func Quarantined(id ID, r Record) string {
	switch d := DeadOf(id, r); {
	case d == nil:
		return ""
	case d.Guessed:
		return "the token endpoint has refused every refresh for hours: " + d.Error
	default:
		return "the credential was refused for good: " + d.Error
	}
}

// RecheckAt is when a credential is tried again that was only concluded to be dead; zero: it is not to be.
func RecheckAt(id ID, r Record) time.Time {
	d := DeadOf(id, r)
	if d == nil || !d.Guessed {
		return time.Time{}
	}
	last := d.At
	if r.Rotation.Last != nil {
		if at := r.Rotation.Last.At; at.After(last) {
			last = at
		}
	}
	return last.Add(min(max(last.Sub(d.At), recheckLeast), recheckMost))
}

// Failing says since when refreshes with the record's credential fail, and why the latest did; zero: they do not.
func Failing(id ID, r Record) (since time.Time, why string) {
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

// condemnedByAnswers is what earlier versions wrote when answers of the provider, not of the token endpoint, spoke
// against a credential. Such a word is not believed any more.
const condemnedByAnswers = "its tokens are refused right after a refresh"
