package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// flight is the one running refresh of an account, shared by all who wait for it. It runs on the store's life, not on
// any waiter's context: a client that leaves must not lose a rotated refresh token.
type flight struct {
	once    sync.Once
	trigger record.Trigger // of who started it
	wanted  string         // fingerprint of the credential that memory had when it was asked for
	force   bool           // an operator insists: present a credential that may be spent, or was refused for good, too
	done    chan struct{}  // closed when the result is known; saving it may still go on
	result  RefreshResult  // valid after done
	landed  chan struct{}  // closed when all is saved and the account may fly again
}

func newFlight(trigger record.Trigger) *flight {
	return &flight{trigger: trigger, done: make(chan struct{}), landed: make(chan struct{})}
}

func (f *flight) finish(r RefreshResult) {
	f.once.Do(func() {
		f.result = r
		close(f.done)
	})
}

func (f *flight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// wait reports whether the flight ended within the limit and the context.
func (f *flight) wait(ctx context.Context, limit time.Duration) bool {
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

// join returns the account's running flight, or starts one. gen is the generation the caller found wanting: if a newer
// one is installed and not refused, the returned flight has already ended and nothing is refreshed.
func (s *Store) join(a *account, gen record.Generation, trigger record.Trigger) *flight {
	return s.joinFlight(a, gen, trigger, false)
}

// joinFlight is join; with force a newer token does not do.
func (s *Store) joinFlight(a *account, gen record.Generation, trigger record.Trigger, force bool) (f *flight) {
	s.change(a, func(l *lifecycle, now time.Time) {
		if f = l.joined(gen, trigger, force, now); f != nil {
			return
		}
		f = l.newFlight(trigger, force)
		switch {
		case !s.begin():
			f.finish(l.failed(&RefreshError{Class: record.RefreshNotSent, Message: errStopping.Error()}))
		case l.flight != nil:
			l.next = f
		default:
			l.flight = f
			go s.fly(a, f, func() { s.refreshInFlight(a, f) })
		}
	})
	return f
}

// newFlight is a flight with the record's credential.
func (l *lifecycle) newFlight(trigger record.Trigger, force bool) *flight {
	if l.refused() && trigger != record.TriggerOperator {
		trigger = record.TriggerResponse
	}
	f := newFlight(trigger)
	f.force, f.wanted = force, record.Fingerprint(l.id, l.record.Credential())
	return f
}

// joined is the flight of somebody who found a generation wanting: the running one, the one that follows it, or one
// that has ended already, with the reason in its result; nil: a new one has to begin.
func (l *lifecycle) joined(gen record.Generation, trigger record.Trigger, force bool, now time.Time) *flight {
	ended := func(r RefreshResult) *flight {
		f := newFlight(trigger)
		// An operator who forces waits for the flight of one who did not to land, and tries again.
		f.force = force // it never lands: nobody is to wait for that
		f.finish(r)
		return f
	}
	t, cur := l.token, l.flight
	switch {
	case t != nil && t.generation > gen && !l.refused() && !force:
		return ended(RefreshResult{
			ID: l.id, Outcome: Fresh, GenerationBefore: gen, GenerationAfter: t.generation, ExpiresAt: t.expires,
		})
	case cur == nil && trigger == record.TriggerSchedule && !l.refused() && !l.isDue(now): // no longer due
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
func (s *Store) fly(a *account, f *flight, work func()) {
	defer s.flights.Done()
	defer func() {
		if p := recover(); p != nil {
			s.Panicked("refresh", p, debug.Stack())
			f.finish(a.failed(&RefreshError{Class: record.RefreshUnknown, Message: fmt.Sprint("internal error: ", p)}))
		}
		var next *flight
		s.change(a, func(l *lifecycle, _ time.Time) { next = l.landed() })
		close(f.landed)
		s.restore(a)
		if next != nil {
			go s.fly(a, next, func() { s.refreshInFlight(a, next) })
		}
	}()
	work()
}

func (s *Store) refreshInFlight(a *account, f *flight) {
	started := time.Now()
	before := a.Generation()
	s.refresh(a, f, func(r RefreshResult) {
		r.ID, r.GenerationBefore, r.Duration = a.id, before, time.Since(started)
		s.noteRefresh(a, f.trigger, r)
		f.finish(r)
	})
}

// save runs a flight that has nothing to do but to save, unless the store is stopping. There must be no other: two
// flights of one account could spend one credential. To be called from within change.
func (s *Store) save(a *account, l *lifecycle, work func()) {
	f := newFlight(record.TriggerSchedule)
	f.finish(RefreshResult{ID: l.id, Outcome: Adopted})
	if !s.begin() {
		return
	}
	l.flight, l.saving = f, true
	go s.fly(a, f, work)
}

// begin registers a flight unless the store is stopping.
func (s *Store) begin() bool {
	s.stopMu.Lock()
	defer s.stopMu.Unlock()
	if s.stopping.Err() != nil {
		return false
	}
	s.flights.Add(1)
	return true
}

func (a *account) failed(e *RefreshError) RefreshResult { return failed(a.id, a.Generation(), e) }

func (l *lifecycle) failed(e *RefreshError) RefreshResult { return failed(l.id, l.generation(), e) }

func failed(id record.ID, gen record.Generation, e *RefreshError) RefreshResult {
	return RefreshResult{
		ID: id, Outcome: Failed, GenerationAfter: gen, Class: e.Class, Status: e.Status,
		Retryable: e.Class != record.RefreshPermanent && e.Class != record.RefreshMisconfigured, Error: e.Error(),
	}
}
