package tokenstore

import (
	"hash/maphash"
	"slices"
	"time"
)

// Refusals are evidence, and a refusal may be the request's own fault: a missing scope, an unknown model, a path that wants
// another kind of key. So no single request takes an account away from the others:
//
//   - A refused token is refreshed once, for the request that met it; other requests may wait for that refresh.
//   - Until it is accepted or replaced, the refused token is used after better ones, and for a minute only (it is suspect).
//   - Refusals of requests of two shapes (client and path), with no acceptance between, bench the account: other upstreams
//     come first then. Even so it serves when nobody else can.
//   - A token that was accepted within the last minute is healthy, however many requests it is refused with, unless another
//     account accepts such a request.
//   - A request is guilty when a second account refuses it, too, a fresh token among them, and one of the accounts is healthy.
//   - Only the token endpoint's word makes an account need a human.

const (
	healthyFor      = time.Minute // after an acceptance
	suspectFor      = time.Minute
	benchFor        = time.Minute      // the token is refused and no refresh helps
	blockedFor      = 10 * time.Minute // disabled or without credit
	responsePause   = time.Minute      // between two refreshes of an account that answers cause
	disbelief       = 5 * time.Second  // until the refusal of a healthy token is believed if nothing speaks against it
	shapesToConvict = 2
	patience        = 2 * time.Second // with a refresh, while there is a token that may be fine
)

// evidence is what answers say against an account since it last accepted a token. The zero value is none.
type evidence struct {
	since   time.Time // of the earliest refusal
	class   Class
	shapes  []uint64  // of the refused requests: distinct, at most shapesToConvict
	proven  bool      // another account accepted such a request
	doubted time.Time // of the earliest refusal since the credential may be spent
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

// drop takes back what guilty requests were refused with, and reports whether nothing is left.
func (e *evidence) drop(shape uint64) bool {
	e.shapes = slices.DeleteFunc(e.shapes, func(seen uint64) bool { return seen == shape })
	return len(e.shapes) == 0 && !e.proven
}

// suspicion keeps a token for the picks that have no better choice. Immutable.
type suspicion struct {
	class Class
	until int64 // Unix nanoseconds: then it is forgotten
	ask   bool  // a refresh is wanted: whoever can wait for it does
	bench bool  // corroborated: other upstreams come first
	tired bool  // somebody waited for that refresh in vain: nobody waits any more
	dead  bool  // several requests were refused with a dead credential's token: the last resort, for they may all be guilty
	rest  int64 // serves nobody before, Unix nanoseconds: such a token was never accepted
}

// ranks of suspicion: the higher serve after the lower.
const (
	rankSuspect = iota // after the living tokens of its pool
	rankBenched        // after all upstreams
	rankDead           // after waiting: only when no limit is about to end
	ranks
)

func (d *suspicion) rank() int {
	switch {
	case d.dead:
		return rankDead
	case d.bench:
		return rankBenched
	}
	return rankSuspect
}

var shapeSeed = maphash.MakeSeed()

// shape tells requests of different kinds apart: who asks, and for what.
func (p Pick) shape() uint64 { return hash(p.client, p.path) }

func hash(words ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(shapeSeed)
	for _, w := range words {
		_, _ = h.WriteString(w)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// healthyLocked reports whether the account accepted a token within the last minute, and no request that was accepted
// elsewhere has been refused since.
func (a *account) healthyLocked(now time.Time) bool {
	at := a.acceptedAt.Load()
	return at != 0 && now.UnixNano()-at < int64(healthyFor) && !a.evidence.proven
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
	healthy := a.healthyLocked(now)
	sit.refreshed = sit.refreshed || t.unproven()
	sit.twice = healthy && trail.hasRefreshed(a.id)
	sit.known = healthy && s.faults.within(faultsRemember, p.fault(), now) || s.faults.within(time.Minute, p.fault(), now)
	// Two healthy tokens may both be revoked at once: a fresh one that was refused, too, tells. And fresh tokens may all be
	// refused where every account is dead: one that others were just served with tells.
	// So does one that was refreshed within the last minute and accepted since: nobody revokes twice a minute.
	sit.withheld = a.flight == nil && now.Before(a.respondedAt.Add(responsePause))
	sit.renewed = sit.withheld && healthy && t.accepted.Load() && a.acceptedAt.Load() >= a.respondedAt.UnixNano()
	fresh := sit.refreshed || trail.refusedFresh() || sit.known || sit.renewed || class != ClassTokenRejected
	sit.healthy = healthy
	sit.guilty = fresh && trail.accused(a.id, class) && (healthy || sit.refreshed && trail.refusedHealthy())
	sit.dear = trail != nil && trail.dear || healthy && sit.known
	if sit.guilty {
		return sit
	}
	a.evidence.add(class, shape, now)
	s.heedMarkLocked(a, now)
	if a.doubtful != "" && class == ClassTokenRejected && a.evidence.doubted.IsZero() {
		a.evidence.doubted = now
	}
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
		planned := a.respondedAt.Add(responsePause) // which the suspicion must outlive, or the plan is dropped
		d.until = later(now.Add(suspectFor), planned.Add(disbelief)).UnixNano()
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
	if old != nil && old.tired {
		d.ask, d.tired = false, true
	}
	a.suspicion.Store(&d)
	a.liveUntil.Store(0)
	a.convictLocked()
	s.remindLocked(a)
}

// remindLocked sees to it that the suspicion is forgotten in time. One timer, however many refusals there are.
func (s *Store) remindLocked(a *account) {
	if a.reminder != nil {
		a.reminder.Stop()
		a.reminder = nil
	}
	if d := a.suspicion.Load(); d != nil && d.until != never {
		a.reminder = time.AfterFunc(time.Duration(d.until-time.Now().UnixNano()), func() { s.forget(a) })
	}
}

// forget ends a suspicion whose time is up. What it rests on stays until a token is accepted or replaced: the next refusal may
// corroborate it.
func (s *Store) forget(a *account) {
	a.mu.Lock()
	d := a.suspicion.Load()
	ended := d != nil && d.until <= time.Now().UnixNano()
	if ended {
		a.unsuspectLocked()
		a.planLocked(s.cfg.Renewal.Lead)
	} else {
		s.remindLocked(a) // a newer one, or the clock was set back
	}
	a.mu.Unlock()
	if ended {
		s.renewals.wake(a)
	}
}

// tire has nobody wait any more for the refresh that a suspect token asks for: it takes long, and the token may be fine.
func (a *account) tire() {
	if d := a.suspicion.Load(); d != nil && d.ask {
		tired := *d
		tired.ask, tired.tired = false, true
		a.suspicion.CompareAndSwap(d, &tired)
	}
}

// convictLocked benches a token that the provider refused when the token endpoint has refused the credential, too. One that
// was never accepted serves an attempt a minute, no more.
func (a *account) convictLocked() {
	t, d := a.token.Load(), a.suspicion.Load()
	if t == nil || d == nil || d.class != ClassTokenRejected || a.quarantine == "" {
		return
	}
	convicted := suspicion{class: d.class, until: never, bench: true, dead: len(a.evidence.shapes) >= shapesToConvict, rest: d.rest}
	if !t.accepted.Load() {
		convicted.dead = true
		if convicted.rest == 0 {
			convicted.rest = time.Now().Add(suspectFor).UnixNano()
		}
	}
	a.suspicion.Store(&convicted)
}

// trustLocked ends a suspicion and what it rests on.
func (a *account) trustLocked() {
	a.evidence = evidence{}
	a.unsuspectLocked()
}

func (a *account) unsuspectLocked() {
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

// spare reports whether a suspect token may serve an attempt that finds none of a lower rank.
func (a *account) spare(now int64, d *suspicion, rank int) bool {
	t := a.token.Load()
	return d.rank() == rank && d.rest <= now && t != nil && now < t.usableUntil && a.coolUntil.Load() <= now
}

// askable reports whether the account needs a refresh before it can serve: it has no living token, or a refused one.
func (a *account) askable(now int64) bool {
	d, t := a.suspicion.Load(), a.token.Load()
	return d == nil || d.ask || t == nil || now >= t.usableUntil
}
