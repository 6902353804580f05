package selection

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

const (
	tokenRejected  = verdict.ClassTokenRejected
	accountBlocked = verdict.ClassAccountBlocked
	billing        = verdict.ClassBilling
)

func acceptedBefore(ago time.Duration) func(*Seat) {
	return func(s *Seat) { s.Accepted(s.Generation(), in(-ago), func() bool { return false }) }
}

func refusedBefore(shape uint64, class verdict.Class, ago time.Duration) func(*Seat) {
	return func(s *Seat) { s.Judge(Refused{Class: class, Generation: 2, Shape: shape}, start.Add(-ago)) }
}

func obtainedBefore(ago time.Duration) func(*View) {
	return func(v *View) { v.Token.RefreshedAt = start.Add(-ago) }
}

// respondedBefore is a view after a refresh that an answer caused.
func respondedBefore(ago time.Duration) func(*View) {
	return func(v *View) {
		v.Responded = start.Add(-ago)
		v.RestsUntil = v.Responded.Add(time.Minute)
	}
}

func inFlight(v *View) { v.InFlight = true }

// refusedBy is a trail on which account b refused the request.
func refusedBy(class verdict.Class, sit Situation) *Trail {
	return (*Trail)(nil).Extend(Attempt{Account: "b", Generation: 7, Class: class}, sit, 401, "", start)
}

func TestWhatARefusalMeans(t *testing.T) {
	const s = time.Second
	after := func(t *Trail, id record.ID, dear bool) *Trail {
		if t == nil {
			t = &Trail{}
		}
		t.NoteRefresh(id, dear)
		return t
	}
	asks := Suspicion{Class: tokenRejected, Until: in(time.Minute), Ask: true}
	waits := Suspicion{Class: tokenRejected, Until: in(time.Minute)}
	refused := Objections{Generation: 2, Refused: true, Since: start, Latest: start}
	only := Objections{Generation: 2, Since: start, Latest: start}
	none := Objections{Generation: 2}
	for name, c := range map[string]struct {
		view     []func(*View)
		before   []func(*Seat)
		refused  Refused // of account a; by default: its token, for a red request
		sit      Situation
		suspects Suspicion // the zero value: none
		objects  Objections
		benches  bool // this refusal does
	}{
		"the first one: a refresh is wanted": {suspects: asks, objects: refused},
		"again in the same shape": {
			before: []func(*Seat){refusedBefore(red, tokenRejected, 20*s)}, suspects: asks,
			objects: Objections{Generation: 2, Refused: true, Since: start.Add(-20 * s), Latest: start},
		},
		"in two shapes: the refresh comes first": {
			before: []func(*Seat){refusedBefore(blue, tokenRejected, 0)}, suspects: asks, objects: refused,
		},
		"accepted within the minute": {
			before: []func(*Seat){acceptedBefore(time.Minute - 1)}, sit: Situation{healthy: true}, objects: only,
		},
		"accepted within the minute, refused in two shapes": {
			before: []func(*Seat){acceptedBefore(s), refusedBefore(blue, tokenRejected, 0)},
			sit:    Situation{healthy: true}, objects: only,
		},
		"accepted a minute ago": {before: []func(*Seat){acceptedBefore(time.Minute)}, suspects: asks, objects: refused},
		"accepted within the minute, but not such a request": {
			before: []func(*Seat){acceptedBefore(s), refusedBefore(red, tokenRejected, 0), func(s *Seat) {
				s.Implicate(Attempt{Account: "a", Generation: 2, Class: tokenRejected}, start)
			}},
			suspects: asks, objects: refused,
		},
		"nobody waits after somebody waited in vain": {
			before:   []func(*Seat){refusedBefore(red, tokenRejected, 0), (*Seat).Tire},
			suspects: Suspicion{Class: tokenRejected, Until: in(time.Minute), tired: true}, objects: refused,
		},

		"nothing to refresh with": {
			view: []func(*View){static}, sit: Situation{Static: true}, suspects: waits, objects: only,
		},
		"nothing to refresh with, the same shape again": {
			view: []func(*View){static}, before: []func(*Seat){refusedBefore(red, tokenRejected, 0)},
			sit: Situation{Static: true}, suspects: waits, objects: only,
		},
		"nothing to refresh with, two shapes": {
			view: []func(*View){static}, before: []func(*Seat){refusedBefore(blue, tokenRejected, 0)},
			sit: Situation{Static: true}, objects: only, benches: true,
			suspects: Suspicion{Class: tokenRejected, Until: in(10 * time.Minute), Bench: true},
		},
		"nothing to refresh with, already benched: not shortened": {
			view: []func(*View){static}, before: []func(*Seat){
				refusedBefore(blue, tokenRejected, 2*time.Minute), refusedBefore(red, tokenRejected, 2*time.Minute),
			},
			refused: Refused{Class: billing, Generation: 2, Shape: red}, sit: Situation{Static: true}, objects: none,
			suspects: Suspicion{Class: billing, Until: in(8 * time.Minute), Bench: true},
		},

		"a token just refreshed": {
			view: []func(*View){obtainedBefore(59 * s)}, sit: Situation{Refreshed: true}, suspects: waits, objects: only,
		},
		"a token just refreshed, two shapes": {
			view: []func(*View){obtainedBefore(59 * s)}, before: []func(*Seat){refusedBefore(blue, tokenRejected, 0)},
			sit: Situation{Refreshed: true}, objects: only, benches: true,
			suspects: Suspicion{Class: tokenRejected, Until: in(time.Minute), Bench: true},
		},
		"a token refreshed a minute ago": {
			view: []func(*View){obtainedBefore(time.Minute)}, suspects: asks, objects: refused,
		},
		"a token just refreshed and accepted since": {
			view: []func(*View){obtainedBefore(30 * s)}, before: []func(*Seat){acceptedBefore(20 * s)},
			sit: Situation{healthy: true}, objects: only,
		},
		"this request had it refreshed": {
			refused: Refused{Trail: after(nil, "a", false)}, sit: Situation{Refreshed: true}, suspects: waits, objects: only,
		},
		"this request cost another account a refresh": {
			refused: Refused{Trail: after(nil, "b", true)}, sit: Situation{Dear: true}, suspects: waits, objects: only,
		},
		"this request had another account refreshed for nothing": {
			refused: Refused{Trail: after(nil, "b", false)}, suspects: asks, objects: refused,
		},

		"within the response pause": {
			view: []func(*View){respondedBefore(20 * s)}, sit: Situation{Withheld: true}, suspects: asks, objects: refused,
		},
		"within the response pause: the suspicion outlives it": {
			view: []func(*View){respondedBefore(s)}, sit: Situation{Withheld: true}, objects: refused,
			suspects: Suspicion{Class: tokenRejected, Until: in(64 * s), Ask: true},
		},
		"within the response pause, two shapes": {
			view: []func(*View){respondedBefore(20 * s)}, before: []func(*Seat){refusedBefore(blue, tokenRejected, 0)},
			sit: Situation{Withheld: true}, objects: refused, benches: true,
			suspects: Suspicion{Class: tokenRejected, Until: in(time.Minute), Ask: true, Bench: true},
		},
		"within the response pause, while a refresh is under way": {
			view: []func(*View){respondedBefore(20 * s), inFlight}, suspects: asks, objects: refused,
		},
		"after the response pause": {view: []func(*View){respondedBefore(time.Minute)}, suspects: asks, objects: refused},
		"within the response pause, accepted since": {
			view: []func(*View){respondedBefore(20 * s)}, before: []func(*Seat){acceptedBefore(20 * s)},
			sit: Situation{Withheld: true, healthy: true, renewed: true}, objects: only,
		},
		"within the response pause, accepted before it": {
			view: []func(*View){respondedBefore(20 * s)}, before: []func(*Seat){acceptedBefore(20*s + 1)},
			sit: Situation{Withheld: true, healthy: true}, objects: only,
		},

		"a dead credential's token that was never accepted": {
			view: []func(*View){deadCredential}, objects: only, benches: true,
			suspects: Suspicion{Class: tokenRejected, Until: Never, Bench: true, dead: true, rest: in(time.Minute)},
		},
		"a dead credential's token that was never accepted: its rest begins anew": {
			view: []func(*View){deadCredential}, before: []func(*Seat){refusedBefore(red, tokenRejected, 10*s)},
			objects:  Objections{Generation: 2, Since: start.Add(-10 * s), Latest: start},
			suspects: Suspicion{Class: tokenRejected, Until: Never, Bench: true, dead: true, rest: in(time.Minute)},
		},
		"a dead credential's token that was accepted once": {
			view: []func(*View){deadCredential, acceptedOnce}, objects: only, benches: true,
			suspects: Suspicion{Class: tokenRejected, Until: Never, Bench: true},
		},
		"a dead credential's token that was accepted once, two shapes": {
			view:   []func(*View){deadCredential, acceptedOnce},
			before: []func(*Seat){refusedBefore(blue, tokenRejected, 0)}, objects: only,
			suspects: Suspicion{Class: tokenRejected, Until: Never, Bench: true, dead: true},
		},
		"a dead credential's healthy token": {
			view: []func(*View){deadCredential}, before: []func(*Seat){acceptedBefore(s)},
			sit: Situation{healthy: true}, objects: only,
		},

		"guilty: refused by a second one, fresh, too": {
			before:  []func(*Seat){acceptedBefore(s)},
			refused: Refused{Trail: refusedBy(tokenRejected, Situation{Refreshed: true})},
			sit:     Situation{Guilty: true, healthy: true}, objects: none,
		},
		"guilty: refused by a second one, renewed, too": {
			before:  []func(*Seat){acceptedBefore(s)},
			refused: Refused{Trail: refusedBy(tokenRejected, Situation{renewed: true})},
			sit:     Situation{Guilty: true, healthy: true}, objects: none,
		},
		"guilty: this one is renewed": {
			view: []func(*View){respondedBefore(20 * s)}, before: []func(*Seat){acceptedBefore(10 * s)},
			refused: Refused{Trail: refusedBy(tokenRejected, Situation{})},
			sit:     Situation{Guilty: true, Withheld: true, healthy: true, renewed: true}, objects: none,
		},
		"guilty: this one is fresh, the other healthy": {
			refused: Refused{Trail: after(refusedBy(tokenRejected, Situation{healthy: true}), "a", false)},
			sit:     Situation{Guilty: true, Refreshed: true}, objects: none,
		},
		"guilty: this one was just refreshed by somebody, the other is healthy": {
			view:    []func(*View){obtainedBefore(s)},
			refused: Refused{Trail: refusedBy(tokenRejected, Situation{healthy: true})},
			sit:     Situation{Guilty: true, Refreshed: true}, objects: none,
		},
		"not guilty: two healthy ones may both be revoked": {
			before:  []func(*Seat){acceptedBefore(s)},
			refused: Refused{Trail: refusedBy(tokenRejected, Situation{healthy: true})},
			sit:     Situation{healthy: true}, objects: only,
		},
		"not guilty: two fresh ones may both be dead": {
			refused: Refused{Trail: after(refusedBy(tokenRejected, Situation{Refreshed: true}), "a", false)},
			sit:     Situation{Refreshed: true}, suspects: waits, objects: only,
		},
		"not guilty: the other refused for another reason": {
			before:  []func(*Seat){acceptedBefore(s)},
			refused: Refused{Trail: refusedBy(accountBlocked, Situation{Refreshed: true})},
			sit:     Situation{healthy: true}, objects: only,
		},
		"not guilty: the other was healthy, this one neither healthy nor fresh": {
			refused:  Refused{Trail: refusedBy(tokenRejected, Situation{healthy: true, Refreshed: true})},
			suspects: asks, objects: refused,
		},
		"not guilty yet: the same account before and after its refresh": {
			before: []func(*Seat){acceptedBefore(s)}, refused: Refused{Trail: after((*Trail)(nil).Extend(
				Attempt{Account: "a", Generation: 1, Class: tokenRejected}, Situation{}, 401, "", start), "a", true)},
			sit: Situation{Twice: true, Refreshed: true, Dear: true, healthy: true}, objects: only,
		},
		"blocked, and a second one, too: guilty if this one is healthy": {
			before:  []func(*Seat){acceptedBefore(s)},
			refused: Refused{Class: accountBlocked, Trail: refusedBy(accountBlocked, Situation{})},
			sit:     Situation{Guilty: true, healthy: true}, objects: none,
		},

		"known as guilty within the minute": {
			refused: Refused{Known: Guilt{recent: true, remembered: true}}, sit: Situation{Known: true},
			suspects: asks, objects: refused,
		},
		"known as guilty within the minute, healthy: dear": {
			before: []func(*Seat){acceptedBefore(s)}, refused: Refused{Known: Guilt{recent: true, remembered: true}},
			sit: Situation{Known: true, Dear: true, healthy: true}, objects: only,
		},
		"known as guilty before, healthy: dear": {
			before: []func(*Seat){acceptedBefore(s)}, refused: Refused{Known: Guilt{remembered: true}},
			sit: Situation{Known: true, Dear: true, healthy: true}, objects: only,
		},
		"known as guilty before": {refused: Refused{Known: Guilt{remembered: true}}, suspects: asks, objects: refused},
		"known as guilty, and a second one refused, too": {
			before:  []func(*Seat){acceptedBefore(s)},
			refused: Refused{Known: Guilt{remembered: true}, Trail: refusedBy(tokenRejected, Situation{})},
			sit:     Situation{Guilty: true, Known: true, Dear: true, healthy: true}, objects: none,
		},

		"a newer token is there": {
			refused: Refused{Generation: 1}, sit: Situation{Newer: true}, objects: none,
		},
		"a newer token is there, but it is refused as well": {
			before: []func(*Seat){refusedBefore(red, tokenRejected, 0)}, refused: Refused{Generation: 1},
			suspects: asks, objects: refused,
		},
		"of a token that is not there any more": {refused: Refused{Generation: 3}, objects: none},
		"of an account without a token":         {view: []func(*View){without}, refused: Refused{Generation: 1}},

		"no credit": {
			refused: Refused{Class: billing}, objects: none,
			suspects: Suspicion{Class: billing, Until: in(time.Minute)},
		},
		"no credit, two shapes": {
			before:  []func(*Seat){refusedBefore(blue, billing, 0)},
			refused: Refused{Class: billing}, objects: none, benches: true,
			suspects: Suspicion{Class: billing, Until: in(10 * time.Minute), Bench: true},
		},
		"no credit, though accepted within the minute": {
			before: []func(*Seat){acceptedBefore(s)}, refused: Refused{Class: billing},
			sit: Situation{healthy: true}, objects: none,
		},
		"no credit in one shape, blocked in another": {
			before:  []func(*Seat){refusedBefore(blue, billing, 0)},
			refused: Refused{Class: accountBlocked}, objects: none,
			suspects: Suspicion{Class: accountBlocked, Until: in(time.Minute)},
		},
		"no credit is not what a dead credential is convicted of": {
			view: []func(*View){deadCredential}, refused: Refused{Class: billing}, objects: none,
			suspects: Suspicion{Class: billing, Until: in(time.Minute)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newSeat("a", c.view...)
			for _, f := range c.before {
				f(a)
			}
			r := c.refused
			if r.Class == 0 {
				r.Class = tokenRejected
			}
			if r.Generation == 0 {
				r.Generation = 2
			}
			if r.Shape == 0 {
				r.Shape = red
			}
			sit, bench := a.Judge(r, start)
			if sit != c.sit {
				t.Errorf("situation %+v\n                want %+v", sit, c.sit)
			}
			var d Suspicion
			if a.Suspicion() != nil {
				d = *a.Suspicion()
			}
			if d != c.suspects {
				t.Errorf("suspicion %+v\n                want %+v", d, c.suspects)
			}
			if got := a.Objections(); got != c.objects {
				t.Errorf("objections %+v\n                want %+v", got, c.objects)
			}
			if (bench != nil) != c.benches || bench != nil && bench != a.Suspicion() {
				t.Errorf("begins the bench %+v, want one: %t", bench, c.benches)
			}
			if lives := a.Living(in(0)); lives != (c.suspects == Suspicion{} && a.HasToken(in(0))) {
				t.Errorf("living: %t", lives)
			}
		})
	}
}
