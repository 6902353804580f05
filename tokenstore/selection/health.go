package selection

import (
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

const (
	strikeCooldown = time.Second // rate limited without a reset time: doubles with every strike in a row
	strikeMost     = time.Minute
	probeAfter     = 30 * time.Minute // of a cooldown, whatever the provider said: one attempt looks whether it is over
	probeLease     = time.Minute      // until the next one may, if the first told nothing
)

// Cooldown says until when an account is not selectable, and why.
type Cooldown struct {
	Scope  verdict.Scope
	Until  time.Time
	Probe  time.Time // when one attempt looks whether it is over; at most half an hour after the latest refusal
	Reason string    // the class of the answer
}

// Situation is what is known of an account that refused a token, besides the answer.
type Situation struct {
	Newer  bool // a newer, unrefused generation of the picked account is installed
	Guilty bool // another account refused the request, too, and this one is healthy or just refreshed
	// the healthy account refused the request before its refresh, too: guilty, if nobody else can be asked
	Twice bool
	// the refused token is the fruit of a refresh: this request's, or one just made and never accepted yet
	Refreshed   bool
	Refreshable bool // now
	Static      bool // there is nothing to refresh with: a key, or a token that somebody else rotates
	Known       bool // requests like it were found guilty lately
	Dear        bool // the request has cost a refresh already, or is known while the account is healthy
	Withheld    bool // an answer has cost the account a refresh within the last minute, in vain as far as is known

	healthy bool // others' requests were just accepted
	renewed bool // the token was refreshed within the last minute and accepted since
}

// health is what answers say of an account. Methods of [Seat] write it, and what picks read of it.
type health struct {
	mu sync.Mutex // guards what follows; no other lock is taken under it

	view     View // of the credential's life, as published last
	refused  bool // the provider refuses the token and a refresh is wanted
	evidence evidence
	cooldown Cooldown
	cooledAt time.Time   // when the cooldown began
	strikes  int         // consecutive rate limits without a reset time
	reminder *time.Timer // ends the suspicion
}

// healthy reports whether the account accepted a token within the last minute, and no request that was accepted
// elsewhere has been refused since.
func (s *Seat) healthy(now time.Time) bool {
	at := s.acceptedAt.Load()
	return at != 0 && now.UnixNano()-at < int64(healthyFor) && !s.health.evidence.proven
}

// Refused is an attempt's refusal: by which generation's token, of which shape of request.
type Refused struct {
	Class      verdict.Class
	Generation record.Generation
	Shape      uint64
	Trail      *Trail
	Known      Guilt // of requests like it
}

// Judge takes a refusal as evidence, unless the request is guilty, and says what is known of the account. It also
// returns the bench that the refusal begins; nil: none.
func (s *Seat) Judge(r Refused, now time.Time) (sit Situation, bench *Suspicion) {
	s.weigh(func() {
		was := s.Benched(now)
		sit = s.judge(r, now)
		if is := s.Benched(now); was == nil {
			bench = is
		}
	})
	return sit, bench
}

// weigh changes what is to be thought of the account's token, and tells it.
func (s *Seat) weigh(f func()) {
	defer s.tell()
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	f()
}

func (s *Seat) judge(r Refused, now time.Time) Situation {
	h, t, class, trail := &s.health, s.token.Load(), r.Class, r.Trail
	sit := Situation{Static: h.view.Static, Refreshed: trail.HasRefreshed(s.ID)}
	if t == nil || t.Generation != r.Generation { // evidence about an older token says nothing of this one
		sit.Newer = t != nil && t.Generation > r.Generation && !h.refused
		return sit
	}
	healthy := s.healthy(now)
	sit.Refreshed = sit.Refreshed || t.unproven(now)
	sit.Twice = healthy && trail.HasRefreshed(s.ID)
	sit.Known = healthy && r.Known.remembered || r.Known.recent
	// Two healthy tokens may both be revoked at once: a fresh one that was refused, too, tells. And fresh tokens may all
	// be refused where every account is dead: one that others were just served with tells. So does one that was refreshed
	// within the last minute and accepted since: nobody revokes twice a minute.
	sit.Withheld = !h.view.InFlight && now.Before(h.view.RestsUntil)
	sit.renewed = sit.Withheld && healthy && t.accepted.Load() && s.acceptedAt.Load() >= h.view.Responded.UnixNano()
	fresh := sit.Refreshed || trail.refusedFresh() || sit.Known || sit.renewed || class != verdict.ClassTokenRejected
	sit.healthy = healthy
	sit.Guilty = fresh && trail.accused(s.ID, class) && (healthy || sit.Refreshed && trail.refusedHealthy())
	sit.Dear = trail != nil && trail.dear || healthy && sit.Known
	if sit.Guilty {
		return sit
	}
	h.evidence.add(class, r.Shape, now)
	s.troubled.Store(true)
	if !healthy {
		s.suspect(s.suspicionOf(class, sit, now), now)
	}
	return sit
}

// suspicionOf is what a refusal makes of a token that is not known to be healthy.
func (s *Seat) suspicionOf(class verdict.Class, sit Situation, now time.Time) Suspicion {
	h := &s.health
	d := Suspicion{Class: class, Until: now.Add(suspectFor).UnixNano(), Bench: len(h.evidence.shapes) >= shapesToConvict}
	if class != verdict.ClassTokenRejected {
		if d.Bench {
			d.Until = now.Add(benchFor).UnixNano()
		}
		return d
	}
	hopeless := sit.Refreshed || sit.Static || h.view.Dead
	if d.Ask = !hopeless && !sit.Dear; d.Ask {
		h.refused = true
		planned := h.view.RestsUntil // which the suspicion must outlive, or the plan is dropped
		d.Until = later(now.Add(suspectFor), planned.Add(margin)).UnixNano()
	}
	d.Bench = d.Bench && (hopeless || sit.Withheld)
	if d.Bench && sit.Static {
		d.Until = now.Add(benchFor).UnixNano() // nothing but time can mend it
	}
	return d
}

// suspect puts a suspicion in force. A bench is not shortened by a lesser one.
func (s *Seat) suspect(d Suspicion, now time.Time) {
	old := s.suspicion.Load()
	if old != nil && old.Bench && old.Until > d.Until {
		d.Bench, d.Until = true, old.Until
	}
	if old != nil && old.tired {
		d.Ask, d.tired = false, true
	}
	s.suspicion.Store(&d)
	s.liveUntil.Store(0)
	s.convict(now)
	s.remind(now)
}

// convict benches a token that the provider refused when the token endpoint has refused the credential, too. One that
// was never accepted serves an attempt a minute, no more.
func (s *Seat) convict(now time.Time) {
	h, t, d := &s.health, s.token.Load(), s.suspicion.Load()
	if t == nil || d == nil || d.Class != verdict.ClassTokenRejected || !h.view.Dead {
		return
	}
	convicted := Suspicion{Class: d.Class, Until: Never, Bench: true, rest: d.rest}
	convicted.dead = len(h.evidence.shapes) >= shapesToConvict
	if !t.accepted.Load() {
		convicted.dead = true
		if convicted.rest == 0 {
			convicted.rest = now.Add(suspectFor).UnixNano()
		}
	}
	s.suspicion.Store(&convicted)
}

// remind sees to it that the suspicion is forgotten in time. One timer, however many refusals there are.
func (s *Seat) remind(now time.Time) {
	h := &s.health
	if h.reminder != nil {
		h.reminder.Stop()
		h.reminder = nil
	}
	if d := s.suspicion.Load(); d != nil && d.Until != Never {
		h.reminder = time.AfterFunc(time.Duration(d.Until-now.UnixNano()), s.expired)
	}
}

// Forget ends a suspicion whose time is up. What it rests on stays until a token is accepted or replaced: the next
// refusal may corroborate it.
func (s *Seat) Forget(now time.Time) {
	s.weigh(func() {
		if d := s.suspicion.Load(); d != nil && d.Until <= now.UnixNano() {
			s.unsuspect()
			return
		}
		s.remind(now) // a newer one, or the clock was set back
	})
}

// trust ends a suspicion and what it rests on.
func (s *Seat) trust() {
	s.health.evidence = evidence{}
	s.unsuspect()
}

func (s *Seat) unsuspect() {
	s.suspicion.Store(nil)
	s.health.refused = false
	if t := s.token.Load(); t != nil {
		s.liveUntil.Store(t.UsableUntil)
	}
}

// Tire has nobody wait any more for the refresh that a suspect token asks for: it takes long, and the token may be
// fine.
func (s *Seat) Tire() {
	if d := s.suspicion.Load(); d != nil && d.Ask {
		tired := *d
		tired.Ask, tired.tired = false, true
		s.suspicion.CompareAndSwap(d, &tired)
	}
}

// Implicate puts the account behind others, healthy or not: it refused what another accepted. That alone benches
// nobody, unless the provider said that the account itself is blocked.
func (s *Seat) Implicate(e Attempt, now time.Time) {
	s.weigh(func() { s.implicate(e, now) })
}

func (s *Seat) implicate(e Attempt, now time.Time) {
	h, t := &s.health, s.token.Load()
	if t == nil || t.Generation != e.Generation || h.evidence.class != e.Class {
		return // replaced or accepted since
	}
	h.evidence.proven = true
	d := s.suspicionOf(e.Class, Situation{Refreshed: t.unproven(now), Static: h.view.Static}, now)
	if d.Bench = e.Class == verdict.ClassAccountBlocked || s.Benched(now) != nil; e.Class == verdict.ClassAccountBlocked {
		d.Until = now.Add(benchFor).UnixNano()
	}
	s.suspect(d, now)
}

// Accepted takes an accepted attempt as evidence, and says what follows. at is when it was picked, in Unix nanoseconds;
// room says whether its answer shows that no limit is used up. Cheap when nothing is on file. released: a cooldown has
// ended.
func (s *Seat) Accepted(gen record.Generation, at int64, room func() bool) (released bool) {
	t := s.token.Load()
	current := t != nil && t.Generation == gen
	if current && !t.accepted.Load() {
		t.accepted.Store(true)
	}
	if at-s.acceptedAt.Load() > int64(time.Second) { // seldom, so that busy processors do not fight for it
		s.acceptedAt.Store(at)
	}
	if !current || !s.troubled.Load() {
		return false
	}
	s.weigh(func() { released = s.succeeded(at, room) })
	return released
}

// succeeded ends what an accepted attempt disproves. One that was picked before the refusals came disproves nothing.
func (s *Seat) succeeded(at int64, room func() bool) (released bool) {
	h := &s.health
	h.strikes = 0
	if at >= h.evidence.since.UnixNano() {
		s.trust()
	}
	cooling := s.coolUntil.Load() != 0
	released = cooling && (at > h.cooledAt.UnixNano() || room())
	if released {
		s.warm()
	}
	s.troubled.Store(cooling && !released || !h.evidence.since.IsZero())
	return released
}

// Limited keeps a rate limited account from attempts for a while, and reports whether for longer than it was. asked is
// the provider's word; 0: it gave none, and the pause grows. A cooldown is only ever extended: a precise long one is
// not cut by a vague short one. However long the provider says, one attempt looks now and then whether it is over. at
// is when the attempt was picked, in Unix nanoseconds: one picked before an operator ended the limits says nothing.
func (s *Seat) Limited(
	at int64, asked time.Duration, scope verdict.Scope, now time.Time,
) (pause time.Duration, extended bool) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if at < s.pardonedAt.Load() {
		return 0, false
	}
	if pause = asked; pause <= 0 {
		h.strikes++
		pause = min(strikeCooldown<<min(h.strikes-1, 10), strikeMost)
	}
	until := now.Add(pause)
	extended = until.After(h.cooldown.Until)
	if extended {
		h.cooldown = Cooldown{Scope: scope, Until: until, Reason: verdict.ClassRateLimited.String()}
	}
	if extended || s.coolUntil.Load() <= now.UnixNano() {
		h.cooledAt = now
	}
	h.cooldown.Probe = earlier(h.cooldown.Until, now.Add(probeAfter))
	s.resetAt.Store(h.cooldown.Until.UnixNano())
	s.coolUntil.Store(h.cooldown.Probe.UnixNano())
	s.troubled.Store(true)
	return pause, extended
}

// warm ends a cooldown.
func (s *Seat) warm() {
	s.health.cooldown, s.health.strikes = Cooldown{}, 0
	s.coolUntil.Store(0)
	s.resetAt.Store(0)
}

// Acquit takes back what a guilty request was refused with.
func (s *Seat) Acquit(class verdict.Class, shape uint64) {
	s.weigh(func() {
		if e := &s.health.evidence; e.class == class && e.drop(shape) {
			s.trust()
		}
	})
}

// Cooling is the cooldown in force, as far as people want to know it; nil: none.
func (s *Seat) Cooling(now time.Time) *Cooldown {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.cooldown.Until.After(now) {
		return nil
	}
	c := h.cooldown
	c.Probe = time.Unix(0, s.coolUntil.Load()).UTC()
	return &c
}

// MayRespond reports whether a refresh that an answer causes may begin now.
func (s *Seat) MayRespond(now time.Time) bool {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.Refreshable(now.UnixNano()) && !now.Before(h.view.RestsUntil)
}

// CanRefresh reports whether a refresh could be waited for: one under way, or a new one.
func (s *Seat) CanRefresh(now time.Time) bool {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view.Joinable || s.Refreshable(now.UnixNano())
}

// Suspicion is why the token serves only when no better one can; nil: no reason.
func (s *Seat) Suspicion() *Suspicion { return s.suspicion.Load() }

// Benched returns the suspicion that keeps the account from serving while others can; nil: none.
func (s *Seat) Benched(now time.Time) *Suspicion {
	if d := s.suspicion.Load(); d != nil && d.Bench && d.Until > now.UnixNano() {
		return d
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
