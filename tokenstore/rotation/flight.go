package rotation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Flight is the one running refresh of an account, shared by all who wait for it. It runs on the store's life, not on
// any waiter's context: a client that leaves must not lose a rotated refresh token.
type Flight struct {
	once    sync.Once
	trigger record.Trigger // of who started it
	wanted  string         // fingerprint of the credential that memory had when it was asked for
	force   bool           // an operator insists: present a credential that may be spent, or was refused for good, too
	done    chan struct{}  // closed when the result is known; saving it may still go on
	result  RefreshResult  // valid after done
	landed  chan struct{}  // closed when all is saved and the account may fly again
}

func newFlight(trigger record.Trigger) *Flight {
	return &Flight{trigger: trigger, done: make(chan struct{}), landed: make(chan struct{})}
}

func (f *Flight) finish(r RefreshResult) {
	f.once.Do(func() {
		f.result = r
		close(f.done)
	})
}

func (f *Flight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// Wait reports whether the flight ended within the limit and the context.
func (f *Flight) Wait(ctx context.Context, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-f.done:
		return true
	case <-t.C:
		return false
	case <-ctx.Done():
		return false
	}
}

var errStopping = errors.New("the service is stopping")

// Join returns the account's running flight, or starts one. gen is the generation the caller found wanting: if a newer
// one is installed and not refused, the returned flight has already ended and nothing is refreshed.
func (k *Keeper) Join(a *Account, gen record.Generation, trigger record.Trigger) *Flight {
	return k.JoinForced(a, gen, trigger, false)
}

// JoinForced is Join; with force a newer token does not do.
func (k *Keeper) JoinForced(a *Account, gen record.Generation, trigger record.Trigger, force bool) (f *Flight) {
	k.change(a, func(l *lifecycle, now time.Time) {
		if f = l.joined(gen, trigger, force, now); f != nil {
			return
		}
		f = l.newFlight(trigger, force)
		switch {
		case !k.begin():
			f.finish(l.failed(&RefreshError{Class: record.RefreshNotSent, Message: errStopping.Error()}))
		case l.flight != nil:
			l.next = f
		default:
			l.flight = f
			go k.fly(a, f, func() { k.refreshInFlight(a, f) })
		}
	})
	return f
}

// newFlight is a flight with the record's credential.
func (l *lifecycle) newFlight(trigger record.Trigger, force bool) *Flight {
	if l.refused() && trigger != record.TriggerOperator {
		trigger = record.TriggerResponse
	}
	f := newFlight(trigger)
	f.force, f.wanted = force, record.Fingerprint(l.id, l.record.Credential())
	return f
}

// joined is the flight of somebody who found a generation wanting: the running one, the one that follows it, or one
// that has ended already, with the reason in its result; nil: a new one has to begin.
func (l *lifecycle) joined(gen record.Generation, trigger record.Trigger, force bool, now time.Time) *Flight {
	ended := func(r RefreshResult) *Flight {
		f := newFlight(trigger)
		// An operator who forces waits for the flight of one who did not to land, and tries again.
		f.force = force // it never lands: nobody is to wait for that
		f.finish(r)
		return f
	}
	t, cur := l.token, l.flight
	switch {
	case t != nil && t.Generation > gen && !l.refused() && !force:
		return ended(RefreshResult{
			ID: l.id, Outcome: Fresh, GenerationBefore: gen, GenerationAfter: t.Generation, ExpiresAt: t.Expires,
		})
	case trigger == record.TriggerSchedule && !l.isDue(now): // no longer due
		return ended(RefreshResult{ID: l.id, Outcome: Fresh, GenerationBefore: gen, GenerationAfter: gen})
	case cur == nil:
		return nil
	case l.stuck && trigger == record.TriggerOperator:
		why := "the store has not taken the latest rotation yet"
		return ended(l.failed(&RefreshError{Class: record.RefreshNotSent, Message: why}))
	case !cur.ended() || l.stuck:
		return cur
	}
	return l.next
}

// fly does a flight's work to its end, saving included.
func (k *Keeper) fly(a *Account, f *Flight, work func()) {
	defer k.flights.Done()
	defer func() {
		if p := recover(); p != nil {
			k.host.Panicked("refresh", p, debug.Stack())
			f.finish(a.failed(&RefreshError{Class: record.RefreshUnknown, Message: fmt.Sprint("internal error: ", p)}))
		}
		var next *Flight
		k.change(a, func(l *lifecycle, _ time.Time) { next = l.landed() })
		close(f.landed)
		k.restore(a)
		if next != nil {
			go k.fly(a, next, func() { k.refreshInFlight(a, next) })
		}
	}()
	work()
}

func (k *Keeper) refreshInFlight(a *Account, f *Flight) {
	started := time.Now()
	before := a.look().generation()
	k.refresh(a, f, func(r RefreshResult) {
		r.ID, r.GenerationBefore, r.Duration = a.id, before, time.Since(started)
		k.host.Ended(a, f.trigger, r)
		f.finish(r)
	})
}

// save runs a flight that has nothing to do but to save, unless the store is stopping. There must be no other: two
// flights of one account could spend one credential. To be called from within change.
func (k *Keeper) save(a *Account, l *lifecycle, work func()) {
	f := newFlight(record.TriggerSchedule)
	f.finish(RefreshResult{ID: l.id, Outcome: Adopted})
	if !k.begin() {
		return
	}
	l.flight, l.saving = f, true
	go k.fly(a, f, work)
}

// begin registers a flight unless the store is stopping.
func (k *Keeper) begin() bool {
	k.stopMu.Lock()
	defer k.stopMu.Unlock()
	if k.stopping.Err() != nil {
		return false
	}
	k.flights.Add(1)
	return true
}

func (a *Account) failed(e *RefreshError) RefreshResult {
	return failed(a.id, a.look().generation(), e)
}

func (l *lifecycle) failed(e *RefreshError) RefreshResult { return failed(l.id, l.generation(), e) }

func failed(id record.ID, gen record.Generation, e *RefreshError) RefreshResult {
	return RefreshResult{
		ID: id, Outcome: Failed, GenerationAfter: gen, Class: e.Class, Status: e.Status,
		Retryable: e.Class != record.RefreshPermanent && e.Class != record.RefreshMisconfigured, Error: e.Error(),
	}
}
