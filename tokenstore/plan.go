package tokenstore

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/selection"
)

// responsePause is the least time between two refreshes of an account that refused tokens cause.
const responsePause = time.Minute

// view is what follows from a lifecycle for picks and for the schedule.
type view struct {
	selection.View
	due time.Time // next renewal; zero: none planned
}

func (l *lifecycle) view(now time.Time) (v view) {
	v.InFlight, v.Joinable, v.Dead = l.flight != nil, l.flight != nil && !l.stuck, l.dead()
	v.Static = l.driver != nil && !l.driver.Refreshable(l.record)
	v.RPM, v.Concurrency = l.record.Limits.RPM, l.record.Limits.Concurrency
	if l.token != nil {
		v.Token = l.token.seat
	}
	if v.Responded = l.respondedAt; !v.Responded.IsZero() {
		v.RestsUntil = v.Responded.Add(responsePause)
	}
	v.Refreshable, v.due = l.plan(now)
	return v
}

// plan is the earliest refresh that a pick may cause, [selection.Never]: none; and the next that the schedule begins,
// zero: none.
func (l *lifecycle) plan(now time.Time) (refreshable int64, due time.Time) {
	if !l.usable() || l.driver == nil || !l.driver.Refreshable(l.record) {
		return selection.Never, due
	}
	if l.dead() {
		switch {
		case l.flight != nil: // planned again when it ends
		case len(l.formers(l.record)) > 0: // to be put back
			due = later(now, l.retry.at)
		case !l.verdict.recheck.IsZero():
			due = later(l.verdict.recheck, l.retry.at)
		}
		return selection.Never, due
	}
	if l.unfit() != nil && len(l.formers(l.record)) == 0 {
		return selection.Never, due
	}
	if l.flight != nil { // the schedule plans again when it ends
		if l.stuck || l.saving && l.next == nil { // whoever joined it would get the token that is there
			return selection.Never, due
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
