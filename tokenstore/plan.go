package tokenstore

import (
	"time"
)

// view is what follows from a lifecycle for picks and for the schedule. Immutable.
type view struct {
	token       *token
	refreshable int64     // the earliest refresh that a pick may cause, Unix nanoseconds; never: none
	due         time.Time // next renewal; zero: none planned
	inFlight    bool      // a refresh is under way, or its save
	flying      bool      // after which another can follow
	static      bool      // there is nothing to refresh with: a key, or a token that somebody else rotates
	dead        bool      // only a human can revive the credential
	respondedAt time.Time // of the latest refresh that an answer caused and that has not proved right
	rpm         int       // the record's limits; 0: none
	concurrency int
}

func (l *lifecycle) view(now time.Time) view {
	v := view{
		token: l.token, inFlight: l.flight != nil, flying: l.flight != nil && !l.stuck, dead: l.dead(), respondedAt: l.respondedAt,
		static: l.driver != nil && !l.driver.Refreshable(l.record),
		rpm:    l.record.Limits.RPM, concurrency: l.record.Limits.Concurrency,
	}
	v.refreshable, v.due = l.plan(now)
	return v
}

// plan is the earliest refresh that a pick may cause, and the next renewal; never and zero: none.
func (l *lifecycle) plan(now time.Time) (refreshable int64, due time.Time) {
	if !l.usable() || l.driver == nil || !l.driver.Refreshable(l.record) {
		return never, due
	}
	if l.dead() {
		if !l.verdict.recheck.IsZero() && l.flight == nil {
			due = later(l.verdict.recheck, l.retry.at)
		}
		return never, due
	}
	if l.unfit() != nil && len(l.formers(l.record)) == 0 {
		return never, due
	}
	if l.flight != nil { // planned again when it ends; until its token is known, picks may join it
		if l.saving && l.next == nil {
			return never, due
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
		at = later(at, l.replayAt(l.token, now))
	}
	if l.refused() && !l.respondedAt.IsZero() {
		at = later(at, l.respondedAt.Add(responsePause))
	}
	return at
}

// unsure reports whether the credential may be spent: a refresh ended without a readable answer.
func (l *lifecycle) unsure() bool {
	c := l.record.Rotation.Claim
	return c != nil && c.AttemptID == l.doubt.attempt
}
