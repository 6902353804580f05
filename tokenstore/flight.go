package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// flight is the one running refresh of an account, shared by all who wait for it. It runs on the store's life, not on
// any waiter's context: a client that leaves must not lose a rotated refresh token.
type flight struct {
	once    sync.Once
	trigger Trigger       // of who started it
	wanted  string        // fingerprint of the credential that memory had when it was asked for
	force   bool          // an operator insists: a credential that may be spent, or was refused for good, is presented all the same
	saving  bool          // the token is installed, its record not saved yet; behind the account's mu, as the two that follow
	stuck   bool          // saving takes long: nobody waits for it
	next    *flight       // of those who found the new token wanting too, begun when this one has landed
	done    chan struct{} // closed when the result is known; saving it may still go on
	result  RefreshResult // valid after done
	landed  chan struct{} // closed when all is saved and the account may fly again
}

func newFlight(trigger Trigger) *flight {
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
func (s *Store) join(a *account, gen Generation, trigger Trigger) *flight {
	return s.joinFlight(a, gen, trigger, false)
}

// joinFlight is join; with force a newer token does not do.
func (s *Store) joinFlight(a *account, gen Generation, trigger Trigger, force bool) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.token.Load(); t != nil && t.generation > gen && !t.refused.Load() && !force {
		f := newFlight(trigger)
		f.finish(RefreshResult{ID: a.id, Outcome: Fresh, GenerationBefore: gen, GenerationAfter: t.generation, ExpiresAt: t.expires})
		return f
	}
	if t := a.token.Load(); t != nil && t.refused.Load() && trigger != TriggerOperator {
		trigger = TriggerResponse
	}
	cur := a.flight
	switch {
	case cur == nil && trigger == TriggerSchedule && a.due.After(time.Now()): // what made it due is over
		f := newFlight(trigger)
		f.finish(RefreshResult{ID: a.id, Outcome: Fresh, GenerationBefore: gen, GenerationAfter: gen})
		return f
	case cur == nil:
	case cur.stuck && trigger == TriggerOperator:
		f := newFlight(trigger)
		f.force = force // it never lands: nobody is to wait for that
		f.finish(failed(a, &RefreshError{Class: RefreshNotSent, Message: "the store has not taken the latest rotation yet"}))
		return f
	case !cur.ended() || cur.stuck:
		return cur
	case cur.next != nil:
		return cur.next
	}
	f := newFlight(trigger)
	f.force, f.wanted = force, Fingerprint(a.id, a.record.Credential())
	if !s.begin() {
		f.finish(failed(a, &RefreshError{Class: RefreshNotSent, Message: errStopping.Error()}))
		return f
	}
	if cur != nil {
		cur.next = f
		a.planLocked(s.cfg.Renewal.Lead) // picks may wait for it too
		return f
	}
	a.flight = f
	go s.fly(a, f, func() { s.refreshInFlight(a, f, trigger) })
	return f
}

// fly does a flight's work to its end, saving included.
func (s *Store) fly(a *account, f *flight, work func()) {
	defer s.flights.Done()
	defer func() {
		if p := recover(); p != nil {
			s.Panicked("refresh", p, debug.Stack())
			f.finish(failed(a, &RefreshError{Class: RefreshUnknown, Message: fmt.Sprint("internal error: ", p)}))
		}
		a.mu.Lock()
		a.flight = f.next
		a.planLocked(s.cfg.Renewal.Lead)
		a.mu.Unlock()
		close(f.landed)
		s.regain(a)
		if next := f.next; next != nil {
			go s.fly(a, next, func() { s.refreshInFlight(a, next, next.trigger) })
		}
		s.renewals.wake(a)
	}()
	work()
}

func (s *Store) refreshInFlight(a *account, f *flight, trigger Trigger) {
	started := time.Now()
	before := a.generation()
	s.refresh(a, trigger, func(r RefreshResult) {
		r.ID, r.GenerationBefore, r.Duration = a.id, before, time.Since(started)
		s.noteRefresh(a, trigger, r)
		f.finish(r)
	})
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

// forcedLocked reports whether an operator insists on the running refresh.
func (a *account) forcedLocked() bool { return a.flight != nil && a.flight.force }

// wanted is the credential that the running refresh was asked for.
func (a *account) wanted() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight == nil {
		return ""
	}
	return a.flight.wanted
}

func failed(a *account, e *RefreshError) RefreshResult {
	return RefreshResult{
		ID: a.id, Outcome: Failed, GenerationAfter: a.generation(), Class: e.Class, Status: e.Status,
		Retryable: e.Class != RefreshPermanent && e.Class != RefreshMisconfigured, Error: e.Error(),
	}
}
