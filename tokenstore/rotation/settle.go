package rotation

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// settle records a failed redemption and plans the next try.
func (k *Keeper) settle(a *Account, c *claimed, e *RefreshError) RefreshResult {
	if e.Class == record.RefreshPermanent { // perhaps the operator or a peer was quicker than our watch
		if cur, err := k.read(a.id); err == nil && record.Fingerprint(a.id, cur.record.Credential()) != c.fingerprint {
			k.take(a, cur)
			return a.failed(
				&RefreshError{
					Class:   record.RefreshTransient,
					Message: "the credential was replaced while it was being refused; the new one is tried next",
				},
			)
		}
	}
	if e.Class == record.RefreshUnknown {
		k.count.Ambiguous.Inc()
		k.host.Event("refresh_ambiguous", a)
	}
	f := record.Failure{
		Outcome: record.Outcome{
			At: time.Now().UTC(), Trigger: c.trigger, Result: "failed", Class: e.Class, Status: e.Status,
			Error: record.Clip(e.Error()), Fingerprint: c.fingerprint,
		},
		Refused: e.refused(), Living: a.look().serves(time.Now()),
		Doubtful: e.Class == record.RefreshUnknown || c.doubtful && e.Class != record.RefreshPermanent,
	}
	k.change(a, func(l *lifecycle, now time.Time) {
		if f.Doubtful {
			l.doubted(c, now)
		}
		l.postponed(e, now)
	})
	res, before := a.failed(e), a.look().dead()
	retreated := k.retreat(a, c, e, f.Outcome)
	written := retreated || k.release(a, c, f)
	k.change(a, func(l *lifecycle, _ time.Time) {
		if written {
			l.retry.unwritten = record.Outcome{}
		} else {
			l.condemned(c.record, f)
		}
	})
	if retreated {
		return res
	}
	if e.Class == record.RefreshPermanent || !before && a.look().dead() {
		k.host.Event("account_quarantined", a, zap.String("class", string(e.Class)), zap.String("error", f.Error))
	}
	return res
}

// release writes the outcome and takes our claim back, or marks it ambiguous. An operator's edit that came in between
// is kept. It reports whether the outcome is stored; if not, the claim stays and memory knows what it is worth.
func (k *Keeper) release(a *Account, c *claimed, f record.Failure) bool {
	change := func(cur record.Record) (record.Record, bool) {
		next := cur.Clone()
		next.Fail(a.id, f)
		if f.Doubtful {
			next.Rotation.Claim.Ambiguous = true
		} else {
			next.Rotation.Claim = nil
		}
		return next, true
	}
	return k.rewriteClaimed(a, c, change, func(cur stored) stored { return k.settleFormer(a, c, cur, f) })
}

// rewriteClaimed writes what change makes of the record that carries our claim, and again of what somebody wrote
// meanwhile for as long as the claim is in it. meet is given that first. It reports whether a change is stored; change
// may decline.
func (k *Keeper) rewriteClaimed(
	a *Account, c *claimed, change func(cur record.Record) (next record.Record, ok bool), meet func(stored) stored,
) bool {
	cur := c.stored
	for range 5 {
		next, ok := change(cur.record)
		if !ok {
			return false
		}
		saved, err := k.write(a.id, next, cur.version, record.NewID())
		if err == nil {
			k.take(a, saved)
			return true
		}
		if !errors.Is(err, ErrConflict) {
			return false
		}
		k.count.Conflicts.Inc()
		if cur, err = k.read(a.id); !record.Legible(cur.record, err) {
			return false
		}
		cur = meet(cur)
		if now := cur.record.Rotation.Claim; now == nil || now.AttemptID != c.attempt() {
			k.take(a, cur) // whoever took the claim away has decided about the account
			return false
		}
	}
	return false
}

// doubted remembers that an attempt of ours, or one before it, may have spent its credential. What was refused before
// has had its refresh.
func (l *lifecycle) doubted(c *claimed, now time.Time) {
	since := l.doubt.since
	if !c.doubtful {
		since = now
	}
	l.doubt = doubt{attempt: c.attempt(), since: since, noted: now}
}

// postpone plans the next try after a failure.
func (k *Keeper) postpone(a *Account, e *RefreshError) RefreshResult {
	k.change(a, func(l *lifecycle, now time.Time) { l.postponed(e, now) })
	return a.failed(e)
}

// postponeForStore is postpone for want of the store.
func (k *Keeper) postponeForStore(a *Account, why string) RefreshResult {
	e := &RefreshError{Class: record.RefreshNotSent, Message: why}
	k.change(a, func(l *lifecycle, now time.Time) {
		l.postponed(e, now)
		l.retry.awaitsStore = true
	})
	return a.failed(e)
}

// resume has the accounts that waited for the store tried again at once.
func (k *Keeper) resume() {
	for _, a := range k.All() {
		k.change(a, func(l *lifecycle, _ time.Time) { l.storeBack() })
	}
}
