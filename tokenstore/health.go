package tokenstore

import (
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore/verdict"
)

const (
	strikeCooldown = time.Second // rate limited without a reset time: doubles with every strike in a row
	strikeMost     = time.Minute
	probeAfter     = 30 * time.Minute // of a cooldown, whatever the provider said: one attempt looks whether it is over
	probeLease     = time.Minute      // until the next one may, if the first told nothing
)

// health is what answers say of an account. Its methods are those of [seat] that write what picks read.
type health struct {
	mu sync.Mutex // guards what follows; no other lock is taken under it

	view     view // of the credential's life, as published last
	refused  bool // the provider refuses the token and a refresh is wanted
	evidence evidence
	cooldown Cooldown
	cooledAt time.Time   // when the cooldown began
	strikes  int         // consecutive rate limits without a reset time
	reminder *time.Timer // ends the suspicion
}

// healthy reports whether the account accepted a token within the last minute, and no request that was accepted
// elsewhere has been refused since.
func (a *seat) healthy(now time.Time) bool {
	at := a.acceptedAt.Load()
	return at != 0 && now.UnixNano()-at < int64(healthyFor) && !a.health.evidence.proven
}

// judge takes a refusal as evidence, unless the request is guilty, and says what is known of the account. recent and known
// say whether requests like it were found guilty within a minute, and within the time that such findings are kept.
func (a *seat) judge(p Pick, class verdict.Class, trail *Trail, recent, known bool, now time.Time) situation {
	h, t, shape := &a.health, a.token.Load(), p.shape()
	sit := situation{static: h.view.static, refreshed: trail.hasRefreshed(a.id)}
	if t == nil || t.generation != p.Generation { // evidence about an older token says nothing of this one
		sit.newer = t != nil && t.generation > p.Generation && !h.refused
		return sit
	}
	healthy := a.healthy(now)
	sit.refreshed = sit.refreshed || t.unproven(now)
	sit.twice = healthy && trail.hasRefreshed(a.id)
	sit.known = healthy && known || recent
	// Two healthy tokens may both be revoked at once: a fresh one that was refused, too, tells. And fresh tokens may all be
	// refused where every account is dead: one that others were just served with tells.
	// So does one that was refreshed within the last minute and accepted since: nobody revokes twice a minute.
	sit.withheld = !h.view.inFlight && now.Before(h.view.respondedAt.Add(responsePause))
	sit.renewed = sit.withheld && healthy && t.accepted.Load() && a.acceptedAt.Load() >= h.view.respondedAt.UnixNano()
	fresh := sit.refreshed || trail.refusedFresh() || sit.known || sit.renewed || class != verdict.ClassTokenRejected
	sit.healthy = healthy
	sit.guilty = fresh && trail.accused(a.id, class) && (healthy || sit.refreshed && trail.refusedHealthy())
	sit.dear = trail != nil && trail.dear || healthy && sit.known
	if sit.guilty {
		return sit
	}
	h.evidence.add(class, shape, now)
	a.troubled.Store(true)
	if !healthy {
		a.suspect(a.suspicionOf(class, sit, t, now), now)
	}
	return sit
}

// suspicionOf is what a refusal makes of a token that is not known to be healthy.
func (a *seat) suspicionOf(class verdict.Class, sit situation, t *token, now time.Time) suspicion {
	h := &a.health
	d := suspicion{class: class, until: now.Add(suspectFor).UnixNano(), bench: len(h.evidence.shapes) >= shapesToConvict}
	if class != verdict.ClassTokenRejected {
		if d.bench {
			d.until = now.Add(blockedFor).UnixNano()
		}
		return d
	}
	hopeless := sit.refreshed || sit.static || h.view.dead
	if d.ask = !hopeless && !sit.dear; d.ask {
		h.refused = true
		planned := h.view.respondedAt.Add(responsePause) // which the suspicion must outlive, or the plan is dropped
		d.until = later(now.Add(suspectFor), planned.Add(disbelief)).UnixNano()
	}
	d.bench = d.bench && (hopeless || sit.withheld)
	if d.bench && sit.static {
		d.until = now.Add(blockedFor).UnixNano() // nothing but time can mend it
	}
	return d
}

// suspect puts a suspicion in force. A bench is not shortened by a lesser one.
func (a *seat) suspect(d suspicion, now time.Time) {
	old := a.suspicion.Load()
	if old != nil && old.bench && old.until > d.until {
		d.bench, d.until = true, old.until
	}
	if old != nil && old.tired {
		d.ask, d.tired = false, true
	}
	a.suspicion.Store(&d)
	a.liveUntil.Store(0)
	a.convict(now)
	a.remind(now)
}

// convict benches a token that the provider refused when the token endpoint has refused the credential, too. One that
// was never accepted serves an attempt a minute, no more.
func (a *seat) convict(now time.Time) {
	h, t, d := &a.health, a.token.Load(), a.suspicion.Load()
	if t == nil || d == nil || d.class != verdict.ClassTokenRejected || !h.view.dead {
		return
	}
	convicted := suspicion{class: d.class, until: never, bench: true, dead: len(h.evidence.shapes) >= shapesToConvict, rest: d.rest}
	if !t.accepted.Load() {
		convicted.dead = true
		if convicted.rest == 0 {
			convicted.rest = now.Add(suspectFor).UnixNano()
		}
	}
	a.suspicion.Store(&convicted)
}

// remind sees to it that the suspicion is forgotten in time. One timer, however many refusals there are.
func (a *seat) remind(now time.Time) {
	h := &a.health
	if h.reminder != nil {
		h.reminder.Stop()
		h.reminder = nil
	}
	if d := a.suspicion.Load(); d != nil && d.until != never {
		h.reminder = time.AfterFunc(time.Duration(d.until-now.UnixNano()), a.expired)
	}
}

// forget ends a suspicion whose time is up. What it rests on stays until a token is accepted or replaced: the next refusal
// may corroborate it.
func (a *seat) forget(now time.Time) {
	if d := a.suspicion.Load(); d != nil && d.until <= now.UnixNano() {
		a.unsuspect()
		return
	}
	a.remind(now) // a newer one, or the clock was set back
}

// trust ends a suspicion and what it rests on.
func (a *seat) trust() {
	a.health.evidence = evidence{}
	a.unsuspect()
}

func (a *seat) unsuspect() {
	a.suspicion.Store(nil)
	a.health.refused = false
	if t := a.token.Load(); t != nil {
		a.liveUntil.Store(t.usableUntil)
	}
}

// tire has nobody wait any more for the refresh that a suspect token asks for: it takes long, and the token may be fine.
func (a *seat) tire() {
	if d := a.suspicion.Load(); d != nil && d.ask {
		tired := *d
		tired.ask, tired.tired = false, true
		a.suspicion.CompareAndSwap(d, &tired)
	}
}

// implicate puts the account behind others, healthy or not: it refused what another accepted. That alone benches nobody,
// unless the provider said that the account itself is blocked.
func (a *seat) implicate(e tried, now time.Time) {
	h, t := &a.health, a.token.Load()
	if t == nil || t.generation != e.generation || h.evidence.class != e.class || h.evidence.since.IsZero() {
		return // replaced or accepted since
	}
	h.evidence.proven = true
	d := a.suspicionOf(e.class, situation{refreshed: t.unproven(now), static: h.view.static}, t, now)
	if d.bench = e.class == verdict.ClassAccountBlocked || a.benched(now) != nil; e.class == verdict.ClassAccountBlocked {
		d.until = now.Add(blockedFor).UnixNano()
	}
	a.suspect(d, now)
}

// succeeded ends what an accepted attempt disproves, and reports whether that was a cooldown. One that was picked before
// the refusals came disproves nothing. room: its answer shows that no limit is used up.
func (a *seat) succeeded(at int64, room bool) (released bool) {
	h := &a.health
	h.strikes = 0
	if at >= h.evidence.since.UnixNano() {
		a.trust()
	}
	cooling := a.coolUntil.Load() != 0
	released = cooling && (at > h.cooledAt.UnixNano() || room)
	if released {
		a.warm()
	}
	a.troubled.Store(cooling && !released || !h.evidence.since.IsZero())
	return released
}

// limited keeps a rate limited account from attempts for a while, and reports whether for longer than it was. asked is the
// provider's word; 0: it gave none, and the pause grows. A cooldown is only ever extended: a precise long one is not cut by a
// vague short one. However long the provider says, one attempt looks now and then whether it is over.
func (a *seat) limited(asked time.Duration, scope verdict.Scope, now time.Time) (pause time.Duration, extended bool) {
	h := &a.health
	if pause = asked; pause <= 0 {
		h.strikes++
		pause = min(strikeCooldown<<min(h.strikes-1, 10), strikeMost)
	}
	until := now.Add(pause)
	extended = until.After(h.cooldown.Until)
	if extended {
		h.cooldown = Cooldown{Scope: scope, Until: until, Reason: verdict.ClassRateLimited.String()}
	}
	if extended || a.coolUntil.Load() <= now.UnixNano() {
		h.cooledAt = now
	}
	h.cooldown.Probe = earlier(h.cooldown.Until, now.Add(probeAfter))
	a.resetAt.Store(h.cooldown.Until.UnixNano())
	a.coolUntil.Store(h.cooldown.Probe.UnixNano())
	a.troubled.Store(true)
	return pause, extended
}

// warm ends a cooldown.
func (a *seat) warm() {
	a.health.cooldown, a.health.strikes = Cooldown{}, 0
	a.coolUntil.Store(0)
	a.resetAt.Store(0)
}

// acquit takes back what a guilty request was refused with.
func (a *seat) acquit(class verdict.Class, shape uint64) {
	if e := &a.health.evidence; e.class == class && e.drop(shape) {
		a.trust()
	}
}

// cooling is the cooldown in force, as far as people want to know it; nil: none.
func (a *seat) cooling(now time.Time) *Cooldown {
	h := &a.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.cooldown.Until.After(now) {
		return nil
	}
	c := h.cooldown
	c.Probe = time.Unix(0, a.coolUntil.Load()).UTC()
	return &c
}

// mayRespond reports whether a refresh that an answer causes may begin now.
func (a *seat) mayRespond(now time.Time) bool {
	h := &a.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return a.refreshable(now.UnixNano()) && !now.Before(h.view.respondedAt.Add(responsePause))
}

// flying reports whether a refresh is under way, or its save, after which another can follow.
func (a *seat) flying() bool {
	h := &a.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view.flying
}
