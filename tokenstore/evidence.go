package tokenstore

import (
	"hash/maphash"
	"sync"
	"time"
)

// Refusals are evidence, and a refusal may be the request's own fault: a missing scope, an unknown model, a path that wants
// another kind of key. So no single request takes an account away from the others:
//
//   - A refused token is refreshed once, for the request that met it; other requests may wait for that refresh.
//   - Until it is accepted or replaced, the refused token is used after better ones, and for a minute only (it is suspect).
//   - Refusals of requests of two shapes (client and path), with no acceptance between, bench the account: other upstreams
//     come first then. Even so it serves when nobody else can.
//   - A token that was accepted within the last minute is healthy, whatever one request meets.
//   - A second account that refuses the same request, healthy or just refreshed, proves the request guilty.
//   - Only the token endpoint's word makes an account need a human.

const (
	healthyFor      = time.Minute // after an acceptance
	suspectFor      = time.Minute
	benchFor        = time.Minute      // the token is refused and no refresh helps
	blockedFor      = 10 * time.Minute // disabled or without credit
	responsePause   = time.Minute      // between two refreshes of an account that answers cause
	disbelief       = 5 * time.Second  // until the refusal of a healthy token is believed if nothing speaks against it
	faultsRemember  = time.Minute
	faultsKept      = 1024
	shapesToConvict = 2
)

// evidence is what answers say against an account since it last accepted a token. The zero value is none.
type evidence struct {
	since  time.Time // of the earliest refusal
	class  Class
	shapes []uint64 // of the refused requests: distinct, at most shapesToConvict
}

func (e *evidence) add(class Class, shape uint64, now time.Time) {
	if e.since.IsZero() || e.class != class {
		*e = evidence{since: now, class: class}
	}
	for _, seen := range e.shapes {
		if seen == shape {
			return
		}
	}
	if len(e.shapes) < shapesToConvict {
		e.shapes = append(e.shapes, shape)
	}
}

// only reports whether nothing but requests of this shape was refused.
func (e *evidence) only(shape uint64) bool {
	return len(e.shapes) == 0 || len(e.shapes) == 1 && e.shapes[0] == shape
}

// suspicion keeps a token for the picks that have no better choice. Immutable.
type suspicion struct {
	class Class
	until int64 // Unix nanoseconds: then it is forgotten
	ask   bool  // a refresh is wanted: whoever can wait for it does
	bench bool  // corroborated: other upstreams come first
	dead  bool  // beyond doubt: it does not serve at all
}

var shapeSeed = maphash.MakeSeed()

// shape tells requests of different kinds apart: who asks, and for what.
func (p Pick) shape() uint64 {
	var h maphash.Hash
	h.SetSeed(shapeSeed)
	_, _ = h.WriteString(p.client)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(p.path)
	return h.Sum64()
}

// healthyLocked reports whether the account accepted a token within the last minute and only requests of one shape have
// been refused since.
func (a *account) healthyLocked(shape uint64, now time.Time) bool {
	at := a.acceptedAt.Load()
	return at != 0 && now.UnixNano()-at < int64(healthyFor) && a.evidence.only(shape)
}

// accuse takes a refusal as evidence, unless the request is guilty, and says what is known of the account.
func (s *Store) accuse(p Pick, class Class, trail *Trail, now time.Time) situation {
	a := p.account
	a.mu.Lock()
	was := a.benched(now)
	sit := s.judgeLocked(p, class, trail, now)
	is := a.benched(now)
	a.mu.Unlock()
	s.renewals.wake(a)
	if is != nil && was == nil {
		s.event("cooldown_set", a, append(p.who(), zapDuration("for", time.Duration(is.until-now.UnixNano())), zapString("class", class.String()))...)
	}
	return sit
}

func (s *Store) judgeLocked(p Pick, class Class, trail *Trail, now time.Time) situation {
	a, t, shape := p.account, p.account.token.Load(), p.shape()
	sit := situation{static: a.driver != nil && !a.driver.Refreshable(a.record), refreshed: trail.hasRefreshed(a.id), refreshable: a.flyingLocked() || a.wakeable(now.UnixNano())}
	if t == nil || t.generation != p.Generation { // evidence about an older token says nothing of this one
		sit.newer = t != nil && t.generation > p.Generation && !t.refused.Load()
		return sit
	}
	healthy := a.healthyLocked(shape, now)
	sit.refreshed = sit.refreshed || t.unproven()
	sit.guilty = (healthy || sit.refreshed) && trail.accused(a.id, class) || healthy && trail.hasRefreshed(a.id)
	sit.dear = trail != nil && trail.dear || healthy && s.faults.lately(shape, now)
	sit.withheld = a.flight == nil && now.Before(a.respondedAt.Add(responsePause))
	if sit.guilty {
		return sit
	}
	a.evidence.add(class, shape, now)
	a.troubled.Store(true)
	if !healthy {
		s.suspectLocked(a, a.suspicionOf(class, sit, t, now))
	}
	a.planLocked(s.cfg.Renewal.Lead)
	sit.refreshable = a.flyingLocked() || a.wakeable(now.UnixNano())
	return sit
}

// flyingLocked reports whether a refresh is under way, or its save, after which another can follow.
func (a *account) flyingLocked() bool { return a.flight != nil && !a.flight.stuck }

// suspicionOf is what a refusal makes of a token that is not known to be healthy.
func (a *account) suspicionOf(class Class, sit situation, t *token, now time.Time) suspicion {
	d := suspicion{class: class, until: now.Add(suspectFor).UnixNano(), bench: len(a.evidence.shapes) >= shapesToConvict}
	if class != ClassTokenRejected {
		if d.bench {
			d.until = now.Add(blockedFor).UnixNano()
		}
		return d
	}
	hopeless := sit.refreshed || sit.static || a.quarantine != ""
	if d.ask = !hopeless && !sit.dear; d.ask {
		t.refused.Store(true)
	}
	d.bench = d.bench && (hopeless || sit.withheld)
	if d.bench && sit.static {
		d.until = now.Add(blockedFor).UnixNano() // nothing but time can mend it
	}
	return d
}

// suspectLocked puts a suspicion in force. A bench is not shortened by a lesser one.
func (s *Store) suspectLocked(a *account, d suspicion) {
	old := a.suspicion.Load()
	if old != nil && old.bench && old.until > d.until {
		d.bench, d.until = true, old.until
	}
	a.suspicion.Store(&d)
	a.liveUntil.Store(0)
	a.convictLocked()
	if left := d.until - time.Now().UnixNano(); d.until != never {
		time.AfterFunc(time.Duration(left), func() { s.forget(a, &d) })
	}
}

// forget ends a suspicion whose time is up.
func (s *Store) forget(a *account, d *suspicion) {
	a.mu.Lock()
	ended := a.suspicion.Load() == d
	if ended {
		a.trustLocked()
		a.planLocked(s.cfg.Renewal.Lead)
	}
	a.mu.Unlock()
	if ended {
		s.renewals.wake(a)
	}
}

// convictLocked benches a token that the provider refused when the token endpoint has refused the credential, too. One that was
// never accepted, or that several requests were refused with, does not serve at all.
func (a *account) convictLocked() {
	t, d := a.token.Load(), a.suspicion.Load()
	if t != nil && d != nil && d.class == ClassTokenRejected && a.quarantine != "" {
		dead := !t.accepted.Load() || len(a.evidence.shapes) >= shapesToConvict
		a.suspicion.Store(&suspicion{class: d.class, until: never, bench: true, dead: dead})
	}
}

// trustLocked ends a suspicion and what it rests on.
func (a *account) trustLocked() {
	a.evidence = evidence{}
	a.suspicion.Store(nil)
	if t := a.token.Load(); t != nil {
		t.refused.Store(false)
		a.liveUntil.Store(t.usableUntil)
	}
}

// benched returns the suspicion that keeps the account from serving while others can; nil: none.
func (a *account) benched(now time.Time) *suspicion {
	if d := a.suspicion.Load(); d != nil && d.bench && d.until > now.UnixNano() {
		return d
	}
	return nil
}

// spare reports whether a suspect token may serve an attempt that finds no better one: a benched one only when no upstream
// has any.
func (a *account) spare(now int64, d *suspicion, bench bool) bool {
	t := a.token.Load()
	return !d.dead && d.bench == bench && t != nil && now < t.usableUntil && a.coolUntil.Load() <= now
}

// askable reports whether the account needs a refresh before it can serve: it has no living token, or a refused one.
func (a *account) askable() bool {
	d := a.suspicion.Load()
	return d == nil || d.ask
}

// faults remembers which shapes of requests were found guilty, for a minute. The zero value is ready.
type faults struct {
	mu sync.Mutex // guards at
	at map[uint64]time.Time
}

func (f *faults) note(shape uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil || len(f.at) >= faultsKept {
		f.at = map[uint64]time.Time{}
	}
	f.at[shape] = now
}

func (f *faults) lately(shape uint64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, known := f.at[shape]
	return known && now.Sub(at) < faultsRemember
}

func (f *faults) forget(shape uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.at, shape)
}
