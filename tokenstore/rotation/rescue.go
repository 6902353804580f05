package rotation

import (
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// rescuePause is how long a refresh token that a peer rescued is left alone: the next answer would hardly be better.
const rescuePause = 5 * time.Minute

// rescuedAt is when a credential may be used that a peer's refresh brought together with an unusable access token.
// Zero: at once, since it did not come like that.
func rescuedAt(id record.ID, r record.Record, now time.Time) time.Time {
	last, mine := r.Rotation.Last, record.Fingerprint(id, r.Credential())
	if last == nil || last.Class != record.RefreshMisconfigured || last.Fingerprint != mine {
		return time.Time{}
	}
	return now.Add(rescuePause)
}

// unusable reports a grant whose access token the driver could not send. Nothing else can be wrong: the record was
// checked before it was claimed. Its class is misconfigured: the credential lives, but the next answer would be no
// better.
func (c *claimed) unusable(g Grant) *RefreshError {
	next := c.record.Clone()
	next.AccessToken = g.AccessToken
	err := c.driver.Check(next)
	if err == nil {
		return nil
	}
	why := err.Error()
	if rule, ok := errors.AsType[*record.Error](err); ok {
		why = rule.Key + " " + rule.Rule
	}
	why = "the token endpoint's answer cannot be used: its " + why
	return &RefreshError{Class: record.RefreshMisconfigured, Message: why}
}

// rescue ends a refresh whose access token is unusable. It is a failure like others, which leaves the old access token
// as it is; but a refresh token in the answer is kept as in any rotation, since the old one is spent.
func (k *Keeper) rescue(a *Account, c *claimed, g Grant, e *RefreshError, done func(RefreshResult)) {
	if g.RefreshToken.IsZero() {
		done(k.settle(a, c, e))
		return
	}
	var entry JournalEntry
	k.change(a, func(l *lifecycle, now time.Time) {
		entry = l.rescued(c, g.RefreshToken, e, now)
		l.postponed(e, now)
		l.retry.unwritten = record.Outcome{}
	})
	done(a.failed(e))
	k.commit(a, entry, c.fresh(), k.journalise(a, entry))
}

// rescued returns the record with the refresh token of an answer whose access token cannot be used. Its generation
// rises though there is no new access token: in a conflict the higher one wins.
func (c *claimed) rescued(
	fresh record.Secret, gen record.Generation, id record.ID, e *RefreshError, now time.Time,
) record.Record {
	next := c.record.Clone()
	if !fresh.Equal(next.RefreshToken) {
		next.RefreshToken = fresh
		record.TellSpent(&next, c.fingerprint)
	}
	next.Former = nil // it is exchanged
	next.Rotation.Claim, next.Rotation.Dead, next.Rotation.Generation = nil, nil, gen
	last := &record.Outcome{
		At: now.UTC(), Trigger: c.trigger, Result: "failed", Class: e.Class, Error: record.Clip(e.Error()),
		Fingerprint: c.fingerprint, // the run of failures goes on from the spent credential
	}
	last.CarryOn(c.record.Rotation.Last)
	last.Fingerprint = record.Fingerprint(id, fresh)
	next.Rotation.Last = last
	return next
}
