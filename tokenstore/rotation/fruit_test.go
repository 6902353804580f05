package rotation

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Tests of what a refresh makes of a lifecycle: its fruit, its failures, a death.

func TestWhatAGrantMakesOfAnAccount(t *testing.T) {
	rotates := Grant{
		AccessToken:  record.NewSecret("at-2"),
		RefreshToken: record.NewSecret("rt-2"),
		ExpiresIn:    2 * time.Hour,
	}
	stays := Grant{AccessToken: record.NewSecret("at-2")}
	for name, c := range map[string]struct {
		before func(*lifecycle)
		grant  Grant
		life   time.Duration // of the new token; 0: unknown
		want   picture
		spent  bool
	}{
		"the provider rotates": {nil, rotates, 2 * time.Hour, picture{
			Token: "at-2", Generation: 2, Credential: "rt-2", Version: 2,
		}, true},
		"the provider keeps the credential": {nil, stays, 0, picture{
			Token: "at-2", Generation: 2, Credential: "rt-1", Version: 2,
		}, false},
		"the provider answers with the same credential": {
			nil, Grant{AccessToken: record.NewSecret("at-2"), RefreshToken: record.NewSecret("rt-1")}, 0, picture{
				Token: "at-2", Generation: 2, Credential: "rt-1", Version: 2,
			}, false,
		},
		"it failed before, and was in doubt": {func(l *lifecycle) {
			l.retry = retry{failures: 3, at: noon.Add(time.Hour)}
			l.doubt.attempt, l.death.mended = "before", true
		}, rotates, 2 * time.Hour, picture{
			Token: "at-2", Generation: 2, Credential: "rt-2", Version: 2,
		}, true},
		"it was dead": {func(l *lifecycle) {
			l.death.quarantine, l.death.unsaved = "dead", &record.Dead{}
			l.record.Rotation.Dead = &record.Dead{Fingerprint: fp("rt-1")}
		}, rotates, 2 * time.Hour, picture{
			Token: "at-2", Generation: 2, Credential: "rt-2", Version: 2,
		}, true},
		"an operator gave the credential: it is proven": {func(l *lifecycle) {
			l.credential.given, l.credential.former, l.record.Former = true, formerOf("rt-0"), formerOf("rt-0")
		}, rotates, 2 * time.Hour, picture{
			Token: "at-2", Generation: 2, Credential: "rt-2", Version: 2,
		}, true},
		"the token was refused: an answer caused it": {func(l *lifecycle) { l.isRefused(noon) }, stays, 0, picture{
			Token: "at-2", Generation: 2, Credential: "rt-1", Version: 2, Responded: true,
		}, false},
		"an operator erased the count: it goes on all the same": {func(l *lifecycle) {
			l.highest = 9
		}, stays, 0, picture{Token: "at-2", Generation: 10, Credential: "rt-1", Version: 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, now := living(), noon.Add(time.Minute)
			l.flight = newFlight(record.TriggerRequest)
			if c.before != nil {
				c.before(l)
			}
			mine := claimOf(l, false)
			e := l.granted(mine, c.grant, now)
			l.want(t, c.want)
			if l.dead() || l.unsure() || !l.saving || l.record.Rotation.Claim != nil || l.unproven() {
				t.Errorf("dead %v, unsure %v, saving %v, claim %v, unproven %v",
					l.dead(), l.unsure(), l.saving, l.record.Rotation.Claim, l.unproven())
			}
			ends := time.Time{}
			if c.life > 0 {
				ends = now.Add(c.life)
			}
			if !l.token.Expires.Equal(ends) || !l.token.RefreshedAt.Equal(now) || !l.retry.at.IsZero() {
				t.Errorf("it ends %v, was refreshed %v, tried again %v", l.token.Expires, l.token.RefreshedAt, l.retry.at)
			}
			if l.memory.isSpent(fp("rt-1")) != c.spent {
				t.Errorf("spent: %v", !c.spent)
			}
			if got := l.lives.expect("p", now); c.life > 0 && got != c.life {
				t.Errorf("tokens are expected to live %v", got)
			}
			saves := e.Record.Rotation
			if e.Attempt != "ours" || e.Spent != fp("rt-1") || e.Account != "a" || saves.Generation != c.want.Generation {
				t.Errorf("to be saved: attempt %s of %s, generation %d", e.Attempt, e.Account, saves.Generation)
			}
			by := record.TriggerRequest
			if saves.Dead != nil || e.Record.Former != nil {
				t.Error("what speaks against the old credential, or for it, is saved again")
			}
			if last := saves.Last; last.Result != "succeeded" || last.Trigger != by || !last.At.Equal(now) {
				t.Errorf("outcome %+v", last)
			}
		})
	}
}

func TestARefreshThatAnAnswerCausedIsOneWhoeverBegan(t *testing.T) {
	for name, c := range map[string]struct {
		trigger record.Trigger
		refused bool
		want    bool
	}{
		"the schedule, of a token that is accepted":             {record.TriggerSchedule, false, false},
		"the schedule, of a token that was refused meanwhile":   {record.TriggerSchedule, true, true},
		"an answer, of a token whose refusal was cleared since": {record.TriggerResponse, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			if c.refused {
				l.isRefused(noon)
			}
			mine := claimOf(l, false)
			mine.trigger = c.trigger
			l.granted(mine, Grant{AccessToken: record.NewSecret("at-2")}, noon)
			if got := !l.respondedAt.IsZero(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestAGrantTeachesHowLongTokensLive(t *testing.T) {
	for name, c := range map[string]struct {
		grant   Grant
		expires time.Time
		refused bool
		want    time.Duration
	}{
		"nothing is said":              {Grant{}, time.Time{}, false, unknownLife},
		"the answer states it":         {Grant{ExpiresIn: time.Hour}, time.Time{}, false, time.Hour},
		"a token of unknown end ended": {Grant{}, time.Time{}, true, 2 * time.Hour},
		"a token of known end did":     {Grant{}, noon.Add(3 * time.Hour), true, unknownLife},
	} {
		t.Run(name, func(t *testing.T) {
			l, now := living(func(r *record.Record) { r.ExpiresAt = c.expires }), noon.Add(2*time.Hour)
			if c.refused {
				l.isRefused(now)
			}
			l.learn(c.grant, now)
			if got := l.lives.expect("p", now); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestAnAnswerWithAnUnusableAccessTokenSavesItsRefreshToken(t *testing.T) {
	bad := &RefreshError{Class: record.RefreshMisconfigured, Message: "access_token must be one line"}
	for name, c := range map[string]struct {
		fresh string
		spent bool
	}{
		"another one": {"rt-2", true},
		"the same":    {"rt-1", false},
	} {
		t.Run(name, func(t *testing.T) {
			l, now := living(), noon.Add(time.Minute)
			l.flight = newFlight(record.TriggerRequest)
			l.record.Former = &record.Former{RefreshToken: record.NewSecret("rt-0")}
			l.doubt.attempt, l.retry.unwritten.FailingSince = "before", noon
			e := l.rescued(claimOf(l, true), record.NewSecret(c.fresh), bad, now)
			l.want(t, picture{Token: "at-1", Generation: 1, Credential: c.fresh, Version: 2})
			if l.highest != 2 || l.record.Rotation.Generation != 2 || !l.saving || l.unproven() {
				t.Errorf("highest %d, saving %v, unproven %v", l.highest, l.saving, l.unproven())
			}
			if l.memory.isSpent(fp("rt-1")) != c.spent {
				t.Errorf("spent: %v", !c.spent)
			}
			if at := rescuedAt("a", e.Record, now); !at.Equal(now.Add(rescuePause)) {
				t.Errorf("a peer would use it at %v", at)
			}
			if since, why := l.failing(); !since.Equal(now) || why != bad.Error() {
				t.Errorf("failing since %v: %s", since, why)
			}
		})
	}
}

func TestWhenAFailedRefreshIsTriedAgain(t *testing.T) {
	const most = 5 * time.Minute
	failure := func(class record.RefreshClass, status int) *RefreshError {
		return &RefreshError{Class: class, Status: status}
	}
	asks := &RefreshError{Class: record.RefreshTransient, Status: 429, RetryAfter: time.Hour}
	for name, c := range map[string]struct {
		failures int // before
		refusals int // that the record tells of
		jitter   float64
		err      *RefreshError
		after    time.Duration
		mended   bool // a mended configuration is still to be put to the test
	}{
		"nothing was sent":                      {0, 0, 0, failure(record.RefreshNotSent, 0), time.Second, true},
		"it was refused for now":                {0, 0, 0, failure(record.RefreshTransient, 503), time.Second, false},
		"no readable answer came":               {0, 0, 0, failure(record.RefreshUnknown, 0), time.Second, false},
		"it was refused for good":               {0, 0, 0, failure(record.RefreshPermanent, 400), time.Second, false},
		"our configuration is wrong":            {0, 0, 0, failure(record.RefreshMisconfigured, 401), most, false},
		"strange refusals, some":                {0, 2, 0, failure(record.RefreshTransient, 400), time.Second, false},
		"strange refusals, enough for a death":  {0, 3, 0, failure(record.RefreshTransient, 400), most, false},
		"a failure after those, but no refusal": {0, 3, 0, failure(record.RefreshTransient, 503), time.Second, false},
		"the endpoint asks for more":            {0, 0, 0, asks, time.Hour, false},
		"the first, with jitter": {
			0, 0, 0.5, failure(record.RefreshNotSent, 0), 1250 * time.Millisecond, true,
		},
		"the third, with jitter": {
			2, 0, 0.5, failure(record.RefreshNotSent, 0), 2500 * time.Millisecond, true,
		},
		"the hundredth, without":                 {99, 0, 0, failure(record.RefreshNotSent, 0), time.Second, true},
		"the hundredth, with almost all of it":   {99, 0, 1, failure(record.RefreshNotSent, 0), most, true},
		"our configuration is wrong, and jitter": {0, 0, 1, failure(record.RefreshMisconfigured, 401), most * 3 / 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.cfg.Random = func() float64 { return c.jitter }
			l.retry.failures, l.retry.awaitsStore, l.death.mended = c.failures, true, true
			l.record.Rotation.Last = &record.Outcome{Refusals: c.refusals}
			l.postponed(c.err, noon)
			if got := l.retry.at.Sub(noon); got != c.after {
				t.Errorf("after %v, want %v", got, c.after)
			}
			if l.retry.failures != c.failures+1 || l.retry.awaitsStore || l.death.mended != c.mended {
				t.Errorf("failures %d, awaits the store %v, mended %v", l.retry.failures, l.retry.awaitsStore, l.death.mended)
			}
			if since, why := l.failing(); !since.Equal(noon) || why != c.err.Error() {
				t.Errorf("failing since %v: %s", since, why)
			}
			l.postponed(c.err, noon.Add(time.Minute))
			if since, _ := l.failing(); !since.Equal(noon) {
				t.Errorf("failing since %v after the second", since)
			}
		})
	}
}

func TestTheStoresReturnEndsTheWaitForItAndNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		awaits bool
		want   int
	}{
		"it failed for want of the store": {true, 0},
		"the token endpoint refused it":   {false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.retry = retry{failures: 2, at: noon.Add(time.Minute), awaitsStore: c.awaits}
			l.storeBack()
			if l.retry.failures != c.want || l.retry.at.IsZero() != c.awaits {
				t.Errorf("%+v", l.retry)
			}
		})
	}
}

func TestWhetherACredentialIsDead(t *testing.T) {
	dead := func(secret string, guessed bool) *record.Dead {
		return &record.Dead{Fingerprint: fp(secret), At: noon, Error: "no", Guessed: guessed}
	}
	for name, c := range map[string]struct {
		written *record.Dead
		unsaved *record.Dead
		last    *record.Outcome
		mended  bool
		dead    bool
		unsaid  bool      // what the record does not say is still needed
		recheck time.Time // zero: only a human helps
	}{
		"nothing speaks against it":     {},
		"the record says so":            {written: dead("rt-1", false), dead: true},
		"the record says so of another": {written: dead("rt-0", false)},
		"the record guesses so": {
			written: dead("rt-1", true), dead: true, recheck: noon.Add(time.Hour),
		},
		"the record guesses so, and the client changed": {
			written: dead("rt-1", true), mended: true, dead: true, recheck: noon,
		},
		"the record is sure, and the client changed": {written: dead("rt-1", false), mended: true, dead: true},
		"memory alone knows":                         {unsaved: dead("rt-1", false), dead: true, unsaid: true},
		"memory alone guesses so": {
			unsaved: dead("rt-1", true), dead: true, unsaid: true, recheck: noon.Add(time.Hour),
		},
		"memory knows it of another": {unsaved: dead("rt-0", false)},
		"memory knows, and the record says so by now": {
			written: dead("rt-1", false), unsaved: dead("rt-1", true), dead: true,
		},
		"memory knows, and a peer has refreshed since": {
			unsaved: dead("rt-1", false), last: &record.Outcome{Result: "succeeded", At: noon.Add(time.Second)},
		},
		"memory knows, and a peer had refreshed before": {
			unsaved: dead("rt-1", false), last: &record.Outcome{Result: "succeeded", At: noon}, dead: true, unsaid: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.record.Rotation.Dead, l.record.Rotation.Last = c.written, c.last
			l.death.unsaved, l.death.mended = c.unsaved, c.mended
			l.diagnose()
			if l.dead() != c.dead || (l.death.unsaved != nil) != c.unsaid || !l.death.recheck.Equal(c.recheck) {
				t.Errorf("dead %v, unsaved %v, recheck %v", l.dead(), l.death.unsaved, l.death.recheck)
			}
			if l.record.Rotation.Dead != c.written {
				t.Error("the record was changed")
			}
		})
	}
}

func TestAFailureThatCannotBeWrittenCondemnsInMemory(t *testing.T) {
	refused := func(class record.RefreshClass) record.Failure {
		return record.Failure{Refused: true, Outcome: record.Outcome{
			At: noon, Result: "failed", Class: class, Error: "no", Fingerprint: fp("rt-1"),
		}}
	}
	long := &record.Outcome{
		Result: "failed", Fingerprint: fp("rt-1"), Refusals: 2,
		RefusedSince: noon.Add(-3 * time.Hour), At: noon.Add(-time.Hour),
	}
	for name, c := range map[string]struct {
		last *record.Outcome
		f    record.Failure
		dead bool
	}{
		"refused for good":              {nil, refused(record.RefreshPermanent), true},
		"refused for now":               {nil, refused(record.RefreshTransient), false},
		"refused for now, for too long": {long, refused(record.RefreshTransient), true},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.record.Rotation.Last = c.last
			l.condemned(l.record, c.f)
			if l.dead() != c.dead || l.record.Rotation.Last != c.last || l.record.Rotation.Dead != nil {
				t.Errorf("dead %v, record %+v", l.dead(), l.record.Rotation)
			}
		})
	}
}
