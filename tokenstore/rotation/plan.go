package rotation

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// responsePause is the least time between two refreshes of an account that refused tokens cause.
const responsePause = time.Minute

// View is what follows from an account's credential for picks and for the schedule. Immutable.
type View struct {
	Record      record.Record
	Token       *Token    // the one to use; nil: none
	Refreshable int64     // the earliest refresh that a pick may cause, Unix nanoseconds; Never: none
	Due         time.Time // next renewal; zero: none planned
	InFlight    bool      // a refresh is under way, or its save
	Joinable    bool      // one that can be waited for, or followed by another
	Static      bool      // there is nothing to refresh with: a key, or a token that somebody else rotates
	Dead        bool      // only a human can revive the credential
	Responded   time.Time // of the latest refresh that an answer caused and that has not proved right; zero: none
	RestsUntil  time.Time // no answer causes another before
}

// Objections are what a provider has said against a token since it was last accepted.
type Objections struct {
	Generation record.Generation // of the token
	Refused    bool              // a refresh is wanted
	Since      time.Time         // of the earliest refusal of the token; zero: none
	Latest     time.Time
}

// Pardon is how much a change of the record forgives.
type Pardon uint8

// Pardons.
const (
	PardonNothing Pardon = iota
	PardonAccount        // cooldowns and benches; a refused token stays refused
	PardonAll
)

func (l *lifecycle) view(now time.Time) (v View) {
	v.Record, v.Token = l.record, l.token
	v.InFlight, v.Joinable, v.Dead = l.flight != nil, l.flight != nil && !l.stuck, l.dead()
	v.Static = l.driver != nil && !l.driver.Refreshable(l.record)
	v.Responded, v.RestsUntil = l.respondedAt, l.restsUntil()
	v.Refreshable, v.Due = l.plan(now)
	return v
}

// plan is the earliest refresh that a pick may cause, [Never]: none; and the next that the schedule begins,
// zero: none.
func (l *lifecycle) plan(now time.Time) (refreshable int64, due time.Time) {
	if !l.usable() || l.driver == nil || !l.driver.Refreshable(l.record) {
		return Never, due
	}
	if l.dead() {
		switch {
		case l.flight != nil: // planned again when it ends
		case len(l.formers(l.record)) > 0: // to be put back
			due = later(now, l.retry.at)
		case !l.death.recheck.IsZero():
			due = later(l.death.recheck, l.retry.at)
		}
		return Never, due
	}
	if l.unfit() != nil && len(l.formers(l.record)) == 0 {
		return Never, due
	}
	if l.flight != nil { // the schedule plans again when it ends
		if l.stuck || l.saving && l.next == nil { // whoever joined it would get the token that is there
			return Never, due
		}
		return 0, due
	}
	soonest := l.soonest(now)
	refreshable = nanos(soonest)
	switch {
	case l.token == nil || l.graceOpen(now) || l.refused(),
		(l.credential.given || l.record.Former != nil) && l.unfit() == nil,
		l.unsure() && !l.doubt.refused.IsZero():
		due = later(now, soonest)
	default:
		due = later(l.renewal(now), soonest)
	}
	if l.credential.unclaimed {
		due = time.Time{}
	}
	return refreshable, due
}

// isDue reports whether the schedule wants a refresh by now.
func (l *lifecycle) isDue(now time.Time) bool {
	_, due := l.plan(now)
	return !due.IsZero() && !due.After(now)
}

// soonest is the earliest instant of a refresh that nobody forces; zero: now.
func (l *lifecycle) soonest(now time.Time) time.Time {
	at := l.retry.at
	if l.token == nil {
		return at
	}
	if l.unsure() {
		at = later(at, l.replayAt(now))
	}
	if l.refused() {
		at = later(at, l.restsUntil())
	}
	return at
}

// restsUntil is before when no answer causes another refresh; zero: one may now.
func (l *lifecycle) restsUntil() time.Time {
	if l.respondedAt.IsZero() {
		return time.Time{}
	}
	return l.respondedAt.Add(responsePause)
}

// unsure reports whether the credential may be spent: a refresh ended without a readable answer.
func (l *lifecycle) unsure() bool {
	c := l.record.Rotation.Claim
	return c != nil && c.AttemptID == l.doubt.attempt
}
