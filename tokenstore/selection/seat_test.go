package selection

import (
	"cmp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

func TestAnEmptySeatServesNobody(t *testing.T) {
	s := NewSeat("a", func() {})
	if s.Living(in(0)) || s.Refreshable(in(0)) || s.HasToken(in(0)) || s.Generation() != 0 || s.CanRefresh(start) {
		t.Error("a seat serves before anything is published")
	}
	if _, ok := s.Take(in(0)); ok {
		t.Error("an attempt took a seat without a token")
	}
	if got := s.Objections(); got != (Objections{}) {
		t.Errorf("objections %+v to no token", got)
	}
}

func TestATokenServesUntilItEnds(t *testing.T) {
	s := newSeat("a", ended, func(v *View) { v.Refreshable = in(time.Second) })
	for after, want := range map[time.Duration]struct{ living, refreshable bool }{
		-1: {true, false}, 0: {false, false}, time.Second - 1: {false, false}, time.Second: {false, true},
	} {
		if s.Living(in(after)) != want.living || s.HasToken(in(after)) != want.living {
			t.Errorf("after %v it lives: %t, has a token: %t", after, s.Living(in(after)), s.HasToken(in(after)))
		}
		if s.Refreshable(in(after)) != want.refreshable {
			t.Errorf("after %v it is refreshable: %t", after, s.Refreshable(in(after)))
		}
	}
}

func TestASeatCountsItsAttempts(t *testing.T) {
	s := newSeat("a", func(v *View) { v.Concurrency = 2 })
	for i, want := range []bool{true, true, false} {
		if token, ok := s.Take(in(0)); ok != want || ok && token.Generation != 2 {
			t.Errorf("attempt %d: %t with %v", i, ok, token)
		}
	}
	s.Release()
	if _, ok := s.Take(in(0)); !ok {
		t.Error("the place that was given back is not there")
	}
	s.NoteFailover()
	if s.Requests() != 3 || s.Failovers() != 1 || s.inflight.Load() != 2 {
		t.Errorf("%d requests, %d failovers, %d under way", s.Requests(), s.Failovers(), s.inflight.Load())
	}
}

func TestANewTokenClearsWhatWasHeldAgainstTheOldOne(t *testing.T) {
	next := func(v *View) { v.Token = &Token{Generation: 3, UsableUntil: in(long)} }
	given := func(v *View) { next(v); v.Token.Given = true }
	dead := func(v *View) { next(v); deadCredential(v) }
	for name, c := range map[string]struct {
		before   []func(*Seat)
		next     func(*View)
		living   bool
		suspects Suspicion
		objects  Objections
		healthy  bool
	}{
		"nothing was held against it": {nil, next, true, Suspicion{}, Objections{Generation: 3}, false},
		"refused":                     {[]func(*Seat){refuse}, next, true, Suspicion{}, Objections{Generation: 3}, false},
		"refused in two shapes": {
			[]func(*Seat){refuseTwice}, next, true, Suspicion{}, Objections{Generation: 3}, false,
		},
		"no credit: the account's own": {
			[]func(*Seat){refusedBefore(red, billing, 0)},
			next, false,
			Suspicion{Class: billing, Until: in(time.Minute)},
			Objections{Generation: 3},
			false,
		},
		"accepted: so is what a refresh brought": {
			[]func(*Seat){acceptedBefore(time.Second)}, next, true, Suspicion{}, Objections{Generation: 3}, true,
		},
		"accepted: that says nothing of what was given": {
			[]func(*Seat){acceptedBefore(time.Second)}, given, true, Suspicion{}, Objections{Generation: 3}, false,
		},
		"refused, now none is left": {[]func(*Seat){refuse}, without, false, Suspicion{}, Objections{}, false},
		"refused, now a dead one's": {[]func(*Seat){refuse}, dead, true, Suspicion{}, Objections{Generation: 3}, false},
		"refused, and the same stands": {
			[]func(*Seat){refuse},
			func(*View) {}, false,
			Suspicion{Class: tokenRejected, Until: in(time.Minute), Ask: true},
			Objections{Generation: 2, Refused: true, Since: start, Latest: start},
			false,
		},
		"refused, and its credential dies": {
			[]func(*Seat){acceptedBefore(long), refuse},
			deadCredential, false,
			Suspicion{Class: tokenRejected, Until: Never, Bench: true},
			Objections{Generation: 2, Refused: true, Since: start, Latest: start},
			false,
		},
		"refused in two shapes, never accepted, and its credential dies": {
			[]func(*Seat){refuseTwice},
			deadCredential, false,
			Suspicion{Class: tokenRejected, Until: Never, Bench: true, dead: true, rest: in(time.Minute)},
			Objections{Generation: 2, Refused: true, Since: start, Latest: start},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeat("a")
			for _, f := range c.before {
				f(s)
			}
			s.Publish(s.changed(c.next), start)
			var d Suspicion
			if s.Suspicion() != nil {
				d = *s.Suspicion()
			}
			if d != c.suspects {
				t.Errorf("suspicion %+v, want %+v", d, c.suspects)
			}
			if got := s.Objections(); got != c.objects {
				t.Errorf("objections %+v, want %+v", got, c.objects)
			}
			if s.Living(in(0)) != c.living || s.healthy(start) != c.healthy {
				t.Errorf("living %t, healthy %t; want %t, %t", s.Living(in(0)), s.healthy(start), c.living, c.healthy)
			}
		})
	}
}

func TestANewTokenDoesNotMakeUpForWhatTheAccountLacks(t *testing.T) {
	s := newSeat("a")
	refusedBefore(red, billing, time.Minute)(s)
	s.Publish(s.changed(func(v *View) { v.Token = &Token{Generation: 3, UsableUntil: Never} }), start)
	if _, bench := s.Judge(Refused{Class: billing, Generation: 3, Shape: blue}, start); bench == nil {
		t.Error("without credit before and after the refresh, it is not benched")
	}
}

func TestARestIsNotPutOffByWhatIsPublished(t *testing.T) {
	s := newSeat("a", deadCredential)
	refuse(s)
	s.Publish(s.changed(), start.Add(30*time.Second))
	r := boardOf(t, 0, []*Seat{s}).Route("r")
	for after, want := range map[time.Duration]bool{0: false, time.Minute - 1: false, time.Minute: true} {
		if _, got, _ := r.Choose(in(after), "", nil, nil); (got == s) != want {
			t.Errorf("after %v it serves: %t, want %t", after, got == s, want)
		}
	}
}

func TestReplacedLimitsKeepWhatWasCounted(t *testing.T) {
	type limits struct{ rpm, concurrency int }
	for name, c := range map[string]struct {
		was, is limits
		full    Full // after two attempts in the minute, both under way; the zero value: there is room
	}{
		"none":                            {},
		"the same":                        {limits{3, 0}, limits{3, 0}, Full{}},
		"fewer a minute":                  {limits{3, 0}, limits{2, 0}, Full{"rpm", 2, start.Add(time.Minute)}},
		"fewer than were counted":         {limits{3, 0}, limits{1, 0}, Full{"rpm", 1, start.Add(time.Minute)}},
		"more a minute":                   {limits{2, 0}, limits{3, 0}, Full{}},
		"a rate, and the places stay":     {limits{2, 3}, limits{2, 5}, Full{"rpm", 2, start.Add(time.Minute)}},
		"fewer at once":                   {limits{0, 3}, limits{0, 2}, Full{"concurrency", 2, time.Time{}}},
		"more at once":                    {limits{0, 2}, limits{0, 3}, Full{}},
		"no limits any more":              {limits{2, 2}, limits{}, Full{}},
		"only a rate: it was not counted": {limits{0, 3}, limits{2, 0}, Full{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeat("a", func(v *View) { v.RPM, v.Concurrency = c.was.rpm, c.was.concurrency })
			s.Take(in(0))
			s.Take(in(0))
			s.Publish(s.changed(func(v *View) { v.RPM, v.Concurrency = c.is.rpm, c.is.concurrency }), start)
			var got Full
			if f := s.Full(start); f != nil {
				got = *f
			}
			if got != c.full {
				t.Errorf("%+v, want %+v", got, c.full)
			}
			if _, ok := s.Take(in(0)); ok != (c.full == Full{}) {
				t.Errorf("another attempt finds a place: %t", ok)
			}
		})
	}
	old, next := newSeat("a", oneAMinute), NewSeat("a", func() {})
	old.Take(in(0))
	next.InheritLimits(old)
	next.Publish(old.changed(), start)
	if _, ok := next.Take(in(0)); ok {
		t.Error("a seat that takes another's place does not know what was counted")
	}
}

func TestWhoMayRefresh(t *testing.T) {
	for name, c := range map[string]struct {
		view          func(*View)
		cools         bool
		respond, wait bool // an answer may cause a refresh; a request may wait for one
	}{
		"at once":                          {func(*View) {}, false, true, true},
		"just when the pause is over":      {func(v *View) { v.RestsUntil = start }, false, true, true},
		"within the pause":                 {func(v *View) { v.RestsUntil = start.Add(1) }, false, false, true},
		"later":                            {func(v *View) { v.Refreshable = in(1) }, false, false, false},
		"never":                            {func(v *View) { v.Refreshable = Never }, false, false, false},
		"not while it cools":               {func(*View) {}, true, false, false},
		"one is under way":                 {func(v *View) { v.Refreshable, v.Joinable = Never, true }, false, false, true},
		"one is under way, while it cools": {func(v *View) { v.Refreshable, v.Joinable = Never, true }, true, false, true},
	} {
		s := newSeat("a", c.view)
		if c.cools {
			cool(s)
		}
		if s.MayRespond(start) != c.respond || s.CanRefresh(start) != c.wait {
			t.Errorf("%s: an answer %t, a wait %t", name, s.MayRespond(start), s.CanRefresh(start))
		}
	}
}

func TestWhatAnAcceptedAttemptDisproves(t *testing.T) {
	const s = time.Second
	no := func() bool { return false }
	for name, c := range map[string]struct {
		before         func(*Seat)
		gen            record.Generation
		picked         time.Duration // after the start, at which the refusals came
		room           func() bool
		news, released bool
		living         bool
		healthy        bool // a second after the pick
	}{
		"nothing is on file":                         {func(*Seat) {}, 2, s, no, false, false, true, true},
		"the refusals before it":                     {refuse, 2, s, no, true, false, true, true},
		"those of two shapes":                        {refuseTwice, 2, s, no, true, false, true, true},
		"not those that came after it was picked":    {refuse, 2, -s, no, true, false, false, true},
		"nothing about another generation":           {refuse, 1, s, no, false, false, false, true},
		"a cooldown that began before":               {cool, 2, 1, no, true, true, true, true},
		"not a cooldown that began after the pick":   {cool, 2, 0, no, true, false, false, true},
		"unless the answer shows that there is room": {cool, 2, -s, func() bool { return true }, true, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newSeat("a")
			c.before(a)
			news := false // whether the account is to be planned anew
			a.tell = func() { news = true }
			released := a.Accepted(c.gen, in(c.picked), c.room)
			if news != c.news || released != c.released {
				t.Errorf("news %t, a cooldown released %t; want %t, %t", news, released, c.news, c.released)
			}
			if a.Living(in(s)) != c.living || a.healthy(start.Add(c.picked+s)) != c.healthy {
				t.Errorf("living %t, healthy %t", a.Living(in(s)), a.healthy(start.Add(c.picked+s)))
			}
			news = false
			a.Accepted(c.gen, in(c.picked), no)
			if wants := c.news && !c.living; news != wants {
				t.Errorf("the next one looks again: %t, want %t", news, wants)
			}
		})
	}
}

func TestAcceptancesAreNotedOnceASecond(t *testing.T) {
	s := newSeat("a")
	for _, step := range []struct{ at, noted time.Duration }{
		{0, 0}, {time.Second, 0}, {time.Second + 1, time.Second + 1}, {0, time.Second + 1},
	} {
		s.Accepted(2, in(step.at), nil)
		if got := s.acceptedAt.Load(); got != in(step.noted) {
			t.Errorf("picked after %v: noted %v", step.at, time.Duration(got-in(0)))
		}
	}
}

func TestARateLimitIsOnlyEverExtended(t *testing.T) {
	const s = time.Second
	type limited struct{ after, asked, pause, until, probe time.Duration }
	half, first := 30*time.Minute, limited{0, 60 * s, 60 * s, 60 * s, 60 * s}
	for name, steps := range map[string][]limited{
		"the provider's word": {{0, 7 * s, 7 * s, 7 * s, 7 * s}},
		"no word: it doubles": {
			{0, 0, s, s, s},
			{0, 0, 2 * s, 2 * s, 2 * s},
			{0, 0, 4 * s, 4 * s, 4 * s},
			{0, 0, 8 * s, 8 * s, 8 * s},
			{0, 0, 16 * s, 16 * s, 16 * s},
			{0, 0, 32 * s, 32 * s, 32 * s},
			{0, 0, 60 * s, 60 * s, 60 * s},
			{5 * s, 0, 60 * s, 65 * s, 65 * s},
		},
		"a word between does not count as a strike": {{0, 0, s, s, s}, {0, s, s, s, s}, {0, 0, 2 * s, 2 * s, 2 * s}},
		"a short one does not cut a long one":       {first, {10 * s, 5 * s, 5 * s, 60 * s, 60 * s}},
		"a longer one does":                         {first, {s, 60 * s, 60 * s, 61 * s, 61 * s}},
		"one looks after half an hour":              {{0, long, long, long, half}},
		"half an hour after the latest refusal":     {{0, long, long, long, half}, {s, s, s, long, half + s}},
		"and not after its end":                     {{0, long, long, long, half}, {long - s, 0, s, long, long}},
	} {
		t.Run(name, func(t *testing.T) {
			a, last := newSeat("a"), time.Duration(0)
			for i, c := range steps {
				now := start.Add(c.after)
				pause, extended := a.Limited(now.UnixNano(), c.asked, verdict.ScopeOrganisation, now)
				if pause != c.pause || extended != (c.until > last) {
					t.Errorf("step %d: for %v, extended %t", i, pause, extended)
				}
				got := a.Cooling(now)
				want := Cooldown{verdict.ScopeOrganisation, start.Add(c.until), start.Add(c.probe), "rate_limited"}
				if got == nil || *got != want {
					t.Fatalf("step %d: %+v, want %+v", i, got, want)
				}
				if a.Living(in(c.probe-1)) || !a.Living(in(c.probe)) {
					t.Errorf("step %d: it does not serve again just at %v", i, c.probe)
				}
				last = c.until
			}
			if got := a.Cooling(start.Add(last)); got != nil {
				t.Errorf("at its end it is still known: %+v", got)
			}
		})
	}
}

func TestAnAcceptedAttemptEndsTheGrowthOfPauses(t *testing.T) {
	s := newSeat("a")
	for range 3 {
		s.Limited(in(0), 0, verdict.ScopeAccount, start)
	}
	s.Accepted(2, in(-time.Second), func() bool { return false })
	if pause, _ := s.Limited(in(0), 0, verdict.ScopeAccount, start); pause != time.Second {
		t.Errorf("the next pause is %v, want 1s", pause)
	}
}

func TestACooldownThatAProbeFoundStandingBeginsAnew(t *testing.T) {
	s, probed := newSeat("a"), start.Add(30*time.Minute)
	s.Limited(in(0), long, verdict.ScopeAccount, start)
	s.Limited(probed.UnixNano(), time.Second, verdict.ScopeAccount, probed)
	no := func() bool { return false }
	if released := s.Accepted(2, probed.UnixNano(), no); released {
		t.Error("an attempt picked no later than the probe's refusal ended the cooldown")
	}
	if released := s.Accepted(2, probed.UnixNano()+1, no); !released {
		t.Error("an attempt picked after it did not")
	}
}

func TestOneAttemptProbesALongCooldown(t *testing.T) {
	s := newSeat("a")
	s.Limited(in(0), 31*time.Minute, verdict.ScopeAccount, start)
	for _, step := range []struct {
		after time.Duration
		takes bool
	}{
		{30*time.Minute - 1, false},
		{30 * time.Minute, true},
		{30 * time.Minute, false}, // the lease is the first one's
		{31*time.Minute - 1, false},
		{31 * time.Minute, true}, // the provider's word: all may
		{31 * time.Minute, true},
	} {
		if _, ok := s.Take(in(step.after)); ok != step.takes {
			t.Errorf("after %v an attempt is admitted: %t", step.after, ok)
		}
	}
	s = newSeat("b")
	s.Limited(in(0), long, verdict.ScopeAccount, start)
	s.Take(in(30 * time.Minute))
	if got := s.Cooling(start.Add(30 * time.Minute)); !got.Probe.Equal(start.Add(31 * time.Minute)) {
		t.Errorf("the next probe is at %v", got.Probe)
	}
	if _, ok := s.Take(in(31 * time.Minute)); !ok {
		t.Error("when the first probe told nothing, there is no second")
	}
}

func TestPardonEndsWhatKeepsAnAccountAway(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*Seat)
		pardon Pardon
		living bool
	}{
		"a cooldown":                          {cool, PardonAccount, true},
		"a bench":                             {refusedBefore(red, billing, 0), PardonAccount, true},
		"a refused token stays refused":       {refuse, PardonAccount, false},
		"unless the credential is another":    {refuse, PardonAll, true},
		"then a cooldown ends, too":           {cool, PardonAll, true},
		"and what both kinds of answers said": {func(s *Seat) { refuse(s); cool(s) }, PardonAll, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeat("a")
			c.before(s)
			s.Pardon(c.pardon, start)
			if s.Living(in(0)) != c.living || s.Cooling(start) != nil {
				t.Errorf("living %t, cooling %+v", s.Living(in(0)), s.Cooling(start))
			}
			refused := !c.living
			if got := s.Objections(); got.Refused != refused || got.Since.IsZero() == refused {
				t.Errorf("objections %+v", got)
			}
			if _, extended := s.Limited(in(-1), time.Minute, verdict.ScopeAccount, start.Add(1)); extended {
				t.Error("the answer to an attempt picked before the pardon made it cool again")
			}
			if _, extended := s.Limited(in(0), time.Minute, verdict.ScopeAccount, start.Add(1)); !extended {
				t.Error("the answer to a later attempt does not count")
			}
		})
	}
}

func TestASuspicionIsForgottenInTimeAndItsEvidenceIsNot(t *testing.T) {
	s := newSeat("a", static)
	refuse(s)
	s.Forget(start.Add(time.Minute - 1))
	if s.Suspicion() == nil || s.Living(in(0)) {
		t.Error("it was forgotten before its time")
	}
	s.Forget(start.Add(time.Minute))
	if s.Suspicion() != nil || !s.Living(in(0)) || s.Objections().Since != start {
		t.Errorf("suspicion %+v, objections %+v", s.Suspicion(), s.Objections())
	}
	refuseAt(s, blue, start.Add(2*time.Minute))
	now := start.Add(2 * time.Minute)
	if d := s.Benched(now); d == nil || d.Until != now.Add(10*time.Minute).UnixNano() {
		t.Errorf("the next refusal, of another shape, does not corroborate it: %+v", d)
	}
	if s.Benched(now.Add(10*time.Minute)) != nil {
		t.Error("it is benched after the bench's end")
	}
	convicted := kinds[4].seat("a")
	convicted.Forget(start.Add(1000 * time.Hour))
	if convicted.Suspicion() == nil {
		t.Error("a dead credential's token was forgiven by time")
	}
}

func TestNobodyWaitsForATiredSuspicion(t *testing.T) {
	s := newSeat("a")
	s.Tire()
	if s.Suspicion() != nil {
		t.Error("a healthy seat tires")
	}
	refuse(s)
	r := boardOf(t, 0, []*Seat{s}).Route("r")
	if _, _, atOnce := r.Choose(in(0), "", nil, nil); atOnce {
		t.Error("nobody waits for the refresh that the refused token asks for")
	}
	s.Tire()
	if _, got, atOnce := r.Choose(in(0), "", nil, nil); got != s || !atOnce {
		t.Errorf("after a wait in vain: %v, at once %t", got, atOnce)
	}
	if !s.Objections().Refused {
		t.Error("the refresh is not wanted any more")
	}
}

func TestAnotherAccountsAcceptanceImplicates(t *testing.T) {
	asks := Suspicion{Class: tokenRejected, Until: in(time.Minute), Ask: true}
	blocked := Suspicion{Class: accountBlocked, Until: in(10 * time.Minute), Bench: true}
	rejects, blocks := refusedBefore(red, tokenRejected, 0), refusedBefore(red, accountBlocked, 0)
	healthy := acceptedBefore(time.Second)
	for name, c := range map[string]struct {
		view     []func(*View)
		before   []func(*Seat)
		class    verdict.Class     // of the attempt; by default token_rejected
		gen      record.Generation // by default the current one
		suspects Suspicion
		proven   bool
	}{
		"a healthy one": {
			before: []func(*Seat){healthy, rejects}, suspects: asks, proven: true,
		},
		"one that was suspected already": {before: []func(*Seat){rejects}, suspects: asks, proven: true},
		"one with nothing to refresh with": {
			view: []func(*View){static}, before: []func(*Seat){rejects}, proven: true,
			suspects: Suspicion{Class: tokenRejected, Until: in(time.Minute)},
		},
		"it alone benches nobody": {
			view: []func(*View){static}, proven: true,
			before:   []func(*Seat){healthy, rejects, refusedBefore(blue, tokenRejected, 0)},
			suspects: Suspicion{Class: tokenRejected, Until: in(10 * time.Minute)},
		},
		"a bench stays": {
			view: []func(*View){static}, before: []func(*Seat){refuseTwice}, proven: true,
			suspects: Suspicion{Class: tokenRejected, Until: in(10 * time.Minute), Bench: true},
		},
		"one that its provider blocks is benched": {
			before: []func(*Seat){healthy, blocks}, class: accountBlocked, suspects: blocked, proven: true,
		},
		"not one that refused otherwise":       {before: []func(*Seat){healthy, rejects}, class: accountBlocked},
		"not a newer token":                    {before: []func(*Seat){healthy, rejects}, gen: 1},
		"not one that is without a token":      {view: []func(*View){without}},
		"not one that has accepted such since": {before: []func(*Seat){rejects, acceptedBefore(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeat("a", c.view...)
			for _, f := range c.before {
				f(s)
			}
			e := Attempt{Account: "a", Generation: cmp.Or(c.gen, 2), Class: cmp.Or(c.class, tokenRejected)}
			s.Implicate(e, start)
			var d Suspicion
			if s.Suspicion() != nil {
				d = *s.Suspicion()
			}
			if d != c.suspects || s.health.evidence.proven != c.proven {
				t.Errorf("suspicion %+v, proven %t; want %+v, %t", d, s.health.evidence.proven, c.suspects, c.proven)
			}
			if c.proven && s.healthy(start) {
				t.Error("it is healthy still")
			}
		})
	}
}

func TestAGuiltyRequestIsTakenBack(t *testing.T) {
	implicated := func(s *Seat) { refuse(s); s.Implicate(Attempt{Generation: 2, Class: tokenRejected}, start) }
	for name, c := range map[string]struct {
		before func(*Seat)
		class  verdict.Class
		shapes []uint64 // what is left
		living bool
	}{
		"the only one":                      {refuse, tokenRejected, nil, true},
		"one of two":                        {refuseTwice, tokenRejected, []uint64{blue}, false},
		"one of another shape":              {refusedBefore(blue, tokenRejected, 0), tokenRejected, []uint64{blue}, false},
		"one of another class":              {refuse, accountBlocked, []uint64{red}, false},
		"the only one, which others accept": {implicated, tokenRejected, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeat("a")
			c.before(s)
			s.Acquit(c.class, red)
			if got := s.health.evidence.shapes; !slices.Equal(got, c.shapes) || s.Living(in(0)) != c.living {
				t.Errorf("shapes %v are left, living %t; want %v, %t", got, s.Living(in(0)), c.shapes, c.living)
			}
			if s.Objections().Refused == c.living {
				t.Errorf("objections %+v", s.Objections())
			}
		})
	}
}

func TestASuspicionRemindsWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reminded []time.Duration
		begin := time.Now()
		s := NewSeat("a", func() {})
		s.expired = func() {
			reminded = append(reminded, time.Since(begin))
			s.Forget(time.Now())
		}
		s.Publish(View{Token: &Token{Generation: 1, UsableUntil: Never}}, begin)
		refuseAt(s, red, time.Now())
		time.Sleep(30 * time.Second)
		refuseAt(s, red, time.Now()) // that one is refused again puts the reminder off
		time.Sleep(time.Hour)
		synctest.Wait()
		if want := []time.Duration{90 * time.Second}; !slices.Equal(reminded, want) || s.Suspicion() != nil {
			t.Errorf("reminded after %v, want %v; then suspected: %v", reminded, want, s.Suspicion())
		}
		refuseAt(s, red, time.Now())
		s.Forget(time.Now()) // too early: it is reminded still
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(reminded) != 2 || s.Suspicion() != nil {
			t.Errorf("reminded after %v; then suspected: %v", reminded, s.Suspicion())
		}
		refuseAt(s, red, time.Now().Add(10*time.Minute)) // then the clock is set back
		again := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(reminded) != 4 || reminded[3]-again.Sub(begin) != 11*time.Minute || s.Suspicion() != nil {
			t.Errorf("with the clock set back: reminded after %v; then suspected: %v", reminded, s.Suspicion())
		}
		refuseAt(s, red, time.Now())
		s.Publish(s.changed(deadCredential), time.Now())
		refuseAt(s, red, time.Now())
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(reminded) != 4 {
			t.Error("time is up for what only a new token ends")
		}
	})
}

// Whoever writes the seat cannot forget that the account is to be planned anew: the seat tells it, without its lock.
func TestWhatAnswersChangeIsTold(t *testing.T) {
	for name, f := range map[string]func(s *Seat){
		"a refusal":                    func(s *Seat) { refuseAt(s, red, start) },
		"another's acceptance":         func(s *Seat) { s.Implicate(Attempt{Generation: 2}, start) },
		"a request that is guilty":     func(s *Seat) { s.Acquit(verdict.ClassTokenRejected, red) },
		"a suspicion's time is up":     func(s *Seat) { s.Forget(start) },
		"an acceptance after refusals": func(s *Seat) { refuseAt(s, red, start); s.Accepted(2, in(time.Second), func() bool { return false }) },
	} {
		t.Run(name, func(t *testing.T) {
			s, told := newSeat("a"), 0
			s.tell = func() {
				s.Objections() // takes the lock
				told++
			}
			if f(s); told == 0 {
				t.Error("nobody is told")
			}
		})
	}
}
