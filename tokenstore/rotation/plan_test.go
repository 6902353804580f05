package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore/record"
)

func TestWhenARefreshMayHappenAndWhenItIsDue(t *testing.T) {
	const (
		never   = time.Duration(-1) // not at all
		atOnce  = time.Duration(0)
		now     = time.Minute      // after noon, like all that follows
		renewal = 40 * time.Minute // a third of its hour before the token ends
		late    = 50 * time.Minute
	)
	dead := func(l *lifecycle) { l.death.quarantine = "dead" }
	withFormer := func(l *lifecycle) {
		l.credential.former = &record.Former{Kind: record.KindOAuthRefresh, RefreshToken: record.NewSecret("rt-0")}
	}
	spentFormer := func(l *lifecycle) {
		withFormer(l)
		l.memory.spend(fp("rt-0"))
	}
	pausedUntil := func(at time.Duration) func(*lifecycle) {
		return func(l *lifecycle) { l.retry.at = noon.Add(at) }
	}
	flies := func(l *lifecycle) { l.flight = newFlight("") }
	flawed := func(l *lifecycle) { l.credential.flaw = &record.Error{} }
	foreign := func(l *lifecycle) { l.credential.foreign = &record.Error{} }
	doubts := func(l *lifecycle) {
		l.record.Rotation.Claim = claimBy("us", "ours")
		l.doubt = doubt{attempt: "ours", since: noon}
	}
	grace := func(l *lifecycle) { l.withPolicy(ReplayGrace, time.Minute) }
	refused := func(l *lifecycle) { l.isRefused(noon) }
	type all []func(*lifecycle)
	for name, c := range map[string]struct {
		is          all
		refreshable time.Duration // the earliest refresh that a pick may cause
		due         time.Duration // the next that the schedule begins
	}{
		"a living token":               {nil, atOnce, renewal},
		"no token":                     {all{func(l *lifecycle) { l.token = nil }}, atOnce, now},
		"no token, after a failure":    {all{func(l *lifecycle) { l.token = nil }, pausedUntil(late)}, late, late},
		"a failure, before renewal":    {all{pausedUntil(2 * time.Minute)}, 2 * time.Minute, renewal},
		"a failure of the renewal":     {all{pausedUntil(late)}, late, late},
		"an unusable record":           {all{func(l *lifecycle) { l.problem = ErrPaused }}, never, never},
		"a paused account":             {all{func(l *lifecycle) { l.record.State = record.Paused }}, never, never},
		"a deleted record":             {all{func(l *lifecycle) { l.presence = deleted }}, never, never},
		"a record not read yet":        {all{func(l *lifecycle) { l.version = 0 }}, never, never},
		"an unknown provider":          {all{func(l *lifecycle) { l.driver = nil }}, never, never},
		"nothing to refresh with":      {all{func(l *lifecycle) { l.record.RefreshToken = record.NewSecret("") }}, never, never},
		"nobody knows yet whose it is": {all{func(l *lifecycle) { l.credential.unclaimed = true }}, atOnce, never},

		"a dead credential":                         {all{dead}, never, never},
		"a dead credential, and a former one":       {all{dead, withFormer}, never, now},
		"the same after a failure":                  {all{dead, withFormer, pausedUntil(late)}, never, late},
		"a dead credential, and a spent former one": {all{dead, spentFormer}, never, never},
		"a dead credential that is being put aside": {all{dead, withFormer, flies}, never, never},
		"a death that was guessed": {
			all{dead, func(l *lifecycle) { l.death.recheck = noon.Add(renewal) }}, never, renewal,
		},
		"the same, while a failure still counts": {
			all{dead, func(l *lifecycle) { l.death.recheck = noon }, pausedUntil(late)}, never, late,
		},
		"what cannot be a credential":         {all{flawed}, never, never},
		"what cannot be one, and a former":    {all{flawed, withFormer}, atOnce, renewal},
		"another account's":                   {all{foreign}, never, never},
		"another account's, and a former one": {all{foreign, withFormer}, atOnce, renewal},
		"one that an operator gave":           {all{func(l *lifecycle) { l.credential.given = true }}, atOnce, now},
		"one that he gave, and cannot be one": {
			all{func(l *lifecycle) { l.credential.given = true }, flawed, withFormer}, atOnce, renewal,
		},
		"one whose former the record keeps": {
			all{func(l *lifecycle) { l.record.Former = &record.Former{} }}, atOnce, now,
		},

		"a refresh under way":                  {all{flies}, atOnce, never},
		"a refresh whose token is being saved": {all{flies, func(l *lifecycle) { l.saving = true }}, never, never},
		"the same, and another follows": {
			all{flies, func(l *lifecycle) { l.saving, l.next = true, newFlight("") }}, atOnce, never,
		},
		"a refresh that cannot be saved": {
			all{flies, func(l *lifecycle) { l.saving, l.stuck, l.next = true, true, newFlight("") }}, never, never,
		},

		"a refused token":                  {all{refused}, atOnce, now},
		"a refused token, after a failure": {all{refused, pausedUntil(late)}, late, late},
		"a refused token, right after a refresh": {
			all{refused, func(l *lifecycle) { l.respondedAt = noon.Add(30 * time.Second) }}, 90 * time.Second, 90 * time.Second,
		},
		"an accepted token, right after one": {
			all{func(l *lifecycle) { l.respondedAt = noon.Add(30 * time.Second) }}, atOnce, renewal,
		},
		"a doubt, strict": {all{doubts}, time.Hour - 30*time.Second, time.Hour - 30*time.Second},
		"a doubt, strict, and the token was refused": {all{doubts, refused}, atOnce, now},
		"a doubt, strict, and refusals not believed": {
			all{doubts, func(l *lifecycle) { l.doubt.refused = noon.Add(now) }}, now + disbelief, now + disbelief,
		},
		"a doubt, and the grace is open": {all{doubts, grace}, atOnce, now},
		"a doubt, and the grace is over": {
			all{doubts, grace, func(l *lifecycle) { l.doubt.since = noon.Add(-time.Second) }},
			time.Hour - 30*time.Second, time.Hour - 30*time.Second,
		},
		"a doubt without rotation": {
			all{doubts, func(l *lifecycle) { l.withPolicy(ReplayNoRotation, 0) }}, atOnce, renewal,
		},
		"a doubt about a claim that is over": {
			all{doubts, func(l *lifecycle) { l.record.Rotation.Claim = nil }}, atOnce, renewal,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			for _, is := range c.is {
				is(l)
			}
			refreshable, due := l.plan(noon.Add(now))
			switch {
			case c.refreshable == never && refreshable != Never,
				c.refreshable == atOnce && refreshable > noon.Add(now).UnixNano(),
				c.refreshable > 0 && refreshable != noon.Add(c.refreshable).UnixNano():
				t.Errorf("refreshable after %v, want %v", time.Unix(0, refreshable).Sub(noon), c.refreshable)
			}
			if due.IsZero() != (c.due == never) || c.due != never && !due.Equal(noon.Add(c.due)) {
				t.Errorf("due at %v, want %v after noon", due, c.due)
			}
			if got, want := l.isDue(noon.Add(now)), c.due != never && c.due <= now; got != want {
				t.Errorf("is due: %v", got)
			}
		})
	}
}

func TestAViewIsWhatFollowsForPicks(t *testing.T) {
	base := func() View {
		return View{Token: &Token{Generation: 1}}
	}
	for name, c := range map[string]struct {
		edit func(*lifecycle)
		want func(*View)
	}{
		"a living token": {func(*lifecycle) {}, func(*View) {}},
		"no token":       {func(l *lifecycle) { l.token = nil }, func(v *View) { v.Token = nil }},
		"a refresh under way": {func(l *lifecycle) { l.flight = newFlight("") }, func(v *View) {
			v.InFlight, v.Joinable = true, true
		}},
		"a refresh that cannot be saved": {func(l *lifecycle) {
			l.flight, l.stuck = newFlight(""), true
		}, func(v *View) {
			v.InFlight, v.Refreshable = true, Never
		}},
		"a dead credential": {func(l *lifecycle) { l.death.quarantine = "dead" }, func(v *View) {
			v.Dead, v.Refreshable = true, Never
		}},
		"nothing to refresh with": {func(l *lifecycle) { l.record.RefreshToken = record.NewSecret("") }, func(v *View) {
			v.Static, v.Refreshable = true, Never
		}},
		"an answer has caused a refresh": {func(l *lifecycle) { l.respondedAt = noon }, func(v *View) {
			v.Responded, v.RestsUntil = noon, noon.Add(responsePause)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			c.edit(l)
			want := base()
			c.want(&want)
			got := l.view(noon)
			if got.Token != l.token || (got.Token == nil) != (want.Token == nil) {
				t.Errorf("token %v", got.Token)
			}
			if diff := cmp.Diff(l.record, got.Record); diff != "" {
				t.Errorf("the record differs (-want +got):\n%s", diff)
			}
			got.Token, want.Token, got.Record, got.Due = nil, nil, record.Record{}, time.Time{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the view differs (-want +got):\n%s", diff)
			}
		})
	}
}
