package rotation

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

func TestWhichFlightSomebodyJoins(t *testing.T) {
	const (
		aNew    = "a new one"
		running = "the running one"
		next    = "the next one"
		fresh   = "ended: there is a newer token"
		needed  = "ended: it is not due any more"
		failed  = "ended: failed"
	)
	flies := func(l *lifecycle) { l.flight = newFlight("") }
	landing := func(l *lifecycle) { // its token is known, and being saved
		l.flight, l.saving = newFlight(""), true
		l.flight.finish(RefreshResult{})
	}
	stuck := func(l *lifecycle) {
		landing(l)
		l.stuck = true
	}
	follows := func(l *lifecycle) { l.next = newFlight("") }
	refused := func(l *lifecycle) { l.isRefused(noon) }
	fails := func(l *lifecycle) { l.retry.at = noon.Add(time.Hour) }
	noToken := func(l *lifecycle) { l.token = nil }
	type all []func(*lifecycle)
	for name, c := range map[string]struct {
		is      all
		found   record.Generation // wanting; the account has generation 1
		trigger record.Trigger
		force   bool
		want    string
	}{
		"nobody flies, and the token is the one found wanting": {nil, 1, record.TriggerRequest, false, aNew},
		"nobody flies, and there is no token":                  {all{noToken}, 0, record.TriggerRequest, false, aNew},
		"the token is newer than the one found wanting":        {nil, 0, record.TriggerRequest, false, fresh},
		"the newer token is refused, too":                      {all{refused}, 0, record.TriggerResponse, false, aNew},
		"the token is newer, and an operator forces":           {nil, 0, record.TriggerOperator, true, aNew},
		"the token is newer while its refresh is saved":        {all{landing}, 0, record.TriggerRequest, false, fresh},
		"the schedule comes when it is due":                    {all{noToken}, 0, record.TriggerSchedule, false, aNew},
		"the schedule comes, and it is due no more":            {nil, 1, record.TriggerSchedule, false, needed},
		"the schedule comes for a refused token in its pause":  {all{refused, fails}, 1, record.TriggerSchedule, false, needed},
		"a request comes during the pause after a failure":     {all{fails}, 1, record.TriggerRequest, false, aNew},
		"somebody flies":                                   {all{flies}, 1, record.TriggerRequest, false, running},
		"somebody flies, and the schedule comes":           {all{flies}, 1, record.TriggerSchedule, false, needed},
		"somebody flies, and an operator forces":           {all{flies}, 1, record.TriggerOperator, true, running},
		"the new token is found wanting while it is saved": {all{landing}, 1, record.TriggerResponse, false, aNew},
		"another has found it wanting already": {
			all{landing, follows}, 1, record.TriggerResponse, false, next,
		},
		"it cannot be saved":                                    {all{stuck}, 1, record.TriggerResponse, false, running},
		"it cannot be saved, and an operator comes":             {all{stuck}, 1, record.TriggerOperator, false, failed},
		"it cannot be saved, and an operator forces":            {all{stuck}, 1, record.TriggerOperator, true, failed},
		"it cannot be saved, and its token is newer than found": {all{stuck}, 0, record.TriggerOperator, false, fresh},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			for _, is := range c.is {
				is(l)
			}
			f, got := l.joined(c.found, c.trigger, c.force, noon), ""
			switch {
			case f == nil:
				got = aNew
			case f == l.flight:
				got = running
			case f == l.next:
				got = next
			case !f.ended():
				got = "one that does not fly"
			case f.result.Outcome == Failed:
				got = failed
			case f.result.GenerationAfter > c.found:
				got = fresh
			case f.result.Outcome == Fresh:
				got = needed
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if f != nil && f.ended() && f != l.flight && f.force != c.force {
				t.Error("whoever forces would wait for it to land")
			}
		})
	}
}

func TestANewFlightKnowsWhatItIsFor(t *testing.T) {
	for name, c := range map[string]struct {
		trigger, want record.Trigger
		refused       bool
	}{
		"the schedule":                           {record.TriggerSchedule, record.TriggerSchedule, false},
		"the schedule, and the token is refused": {record.TriggerSchedule, record.TriggerResponse, true},
		"a request, and the token is refused":    {record.TriggerRequest, record.TriggerResponse, true},
		"an operator, whatever else":             {record.TriggerOperator, record.TriggerOperator, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			if c.refused {
				l.isRefused(noon)
			}
			if f := l.newFlight(c.trigger, true); f.trigger != c.want || !f.force || f.wanted != fp("rt-1") || f.ended() {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestALandedFlightGivesWayToTheNext(t *testing.T) {
	l, first, second := living(), newFlight(""), newFlight("")
	l.flight, l.next, l.saving, l.stuck = first, second, true, true
	if l.landed() != second || l.flight != second || l.next != nil || l.saving || l.stuck {
		t.Errorf("%+v", l)
	}
	if l.landed() != nil || l.flight != nil {
		t.Error("the last one flies on")
	}
}

func TestWhoseClaimARefreshWaitsFor(t *testing.T) {
	for name, c := range map[string]struct {
		flight bool
		claim  *record.Claim
		want   bool
	}{
		"nobody refreshes":                   {false, claimBy("them", "theirs"), false},
		"there is no claim":                  {true, nil, false},
		"the claim was not seen yet":         {true, claimBy("them", "new"), false},
		"a refresh waits for the claim seen": {true, claimBy("them", "theirs"), true},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.peer.attempt, l.record.Rotation.Claim = "theirs", c.claim
			if c.flight {
				l.flight = newFlight("")
			}
			if got := l.waiting() != ""; got != c.want {
				t.Errorf("%q", l.waiting())
			}
		})
	}
}
