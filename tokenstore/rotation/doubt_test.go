package rotation

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

func TestHowLongAnotherProcesssClaimIsRespected(t *testing.T) {
	foreign := func(edit func(*record.Claim)) *record.Claim {
		c := claimBy("them", "theirs")
		if edit != nil {
			edit(c)
		}
		return c
	}
	for name, c := range map[string]struct {
		seen  *record.Claim // at noon
		now   *record.Claim
		after time.Duration
		left  time.Duration
	}{
		"there is none":                      {nil, nil, 0, 0},
		"it is ours":                         {nil, claimBy("us", "ours"), 0, 0},
		"it is marked as ambiguous: ended":   {nil, foreign(func(c *record.Claim) { c.Ambiguous = true }), 0, 0},
		"it is seen for the first time":      {nil, foreign(nil), time.Hour, 30 * time.Second},
		"it is seen unchanged for a while":   {foreign(nil), foreign(nil), 10 * time.Second, 20 * time.Second},
		"it is seen unchanged for its lease": {foreign(nil), foreign(nil), 30 * time.Second, 0},
		"it is seen unchanged for longer":    {foreign(nil), foreign(nil), time.Hour, 0},
		"it has taken the place of another": {
			foreign(func(c *record.Claim) { c.AttemptID = "before" }), foreign(nil), time.Minute, 30 * time.Second,
		},
		"its holder's lease is longer": {nil, foreign(func(c *record.Claim) { c.LeaseSeconds = 60 }), 0, time.Minute},
		"its holder's lease is shorter": {
			nil, foreign(func(c *record.Claim) { c.LeaseSeconds = 5 }), 0, 30 * time.Second,
		},
		"its holder's lease is absurd": {nil, foreign(func(c *record.Claim) { c.LeaseSeconds = 1e6 }), 0, longestLease},
		"its holder's clock is a year off": {nil, foreign(func(c *record.Claim) {
			c.StartedAt = noon.AddDate(-1, 0, 0)
		}), 0, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			if c.seen != nil {
				l.sees(c.seen, noon)
			}
			if got := l.sees(c.now, noon.Add(c.after)); got != c.left {
				t.Errorf("%v left, want %v", got, c.left)
			}
		})
	}
}

func TestALeaseBeginsAnewWhenNobodyCouldSave(t *testing.T) {
	for name, away := range map[string]func(*lifecycle){
		"the store was away":     (*lifecycle).storeBack,
		"the record was deleted": func(l *lifecycle) { l.unreadable(ErrDeleted, true, stored{}) },
		"the record was illegible": func(l *lifecycle) {
			l.unreadable(record.ErrUnreadable, false, stored{version: 2, known: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.sees(claimBy("them", "theirs"), noon)
			away(l)
			if got := l.sees(claimBy("them", "theirs"), noon.Add(time.Minute)); got != 30*time.Second {
				t.Errorf("%v left", got)
			}
		})
	}
}

func TestWhenADoubtfulCredentialMayBePresented(t *testing.T) {
	const (
		now     = time.Duration(0)
		atEnd   = time.Hour - 30*time.Second // just before the living token's
		noDoubt = ""
	)
	marked := func(c *record.Claim) *record.Claim {
		c.Ambiguous = true
		return c
	}
	ours := func(l *lifecycle) { l.doubt.attempt = "ours" }
	for name, c := range map[string]struct {
		policy ReplayPolicy
		claim  *record.Claim
		before func(*lifecycle)
		force  bool
		at     time.Duration // after noon
		doubt  string        // whose, afterwards
	}{
		"nobody has claimed it": {ReplayStrict, nil, nil, false, now, noDoubt},
		"another credential was claimed": {
			ReplayStrict, &record.Claim{Holder: "them", AttemptID: "x", Fingerprint: fp("rt-0")}, nil, false, now, noDoubt,
		},
		"there is no token to use up first": {
			ReplayStrict, claimBy("them", "theirs"), func(l *lifecycle) { l.token = nil }, false, now, noDoubt,
		},
		"our claim could not be cleared, but nothing was spent": {
			ReplayStrict, claimBy("us", "ours"), nil, false, now, noDoubt,
		},
		"we got no readable answer": {
			ReplayStrict, claimBy("us", "ours"), ours, false, atEnd, "ours",
		},
		"we got none before a restart under the same name": {
			ReplayStrict, marked(claimBy("us", "ours")), nil, false, atEnd, "ours",
		},
		"another process left its claim": {
			ReplayStrict, claimBy("them", "theirs"), nil, false, atEnd, "theirs",
		},
		"another process got no readable answer": {
			ReplayStrict, marked(claimBy("them", "theirs")), nil, false, atEnd, "theirs",
		},
		"an operator insists, and we got no answer": {
			ReplayStrict, claimBy("us", "ours"), ours, true, now, "ours",
		},
		"an operator insists, and another process got none": {
			ReplayStrict, marked(claimBy("them", "theirs")), nil, true, now, noDoubt,
		},
		"an operator insists, and another may only be slow": {
			ReplayStrict, claimBy("them", "theirs"), nil, true, atEnd, "theirs",
		},
		"the provider does not rotate": {
			ReplayNoRotation, claimBy("them", "theirs"), nil, false, now, "theirs",
		},
		"the provider's grace is open": {
			ReplayGrace, claimBy("us", "ours"), ours, false, now, "ours",
		},
		"the provider's grace is over": {ReplayGrace, claimBy("us", "ours"), func(l *lifecycle) {
			ours(l)
			l.doubt.since = noon.Add(-2 * time.Minute)
		}, false, atEnd, "ours"},
		"the grace counts from when another's claim was seen": {ReplayGrace, claimBy("them", "theirs"), func(l *lifecycle) {
			l.peer = peerClaim{"theirs", noon.Add(-2 * time.Minute)}
		}, false, atEnd, "theirs"},
		"the token is refused": {
			ReplayStrict, claimBy("them", "theirs"), func(l *lifecycle) { l.isRefused(noon) }, false, now, "theirs",
		},
		"the refusals were not believed as yet": {
			ReplayStrict, claimBy("them", "theirs"), suspected, false, disbelief, "theirs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := living().withPolicy(c.policy, time.Minute)
			l.peer.since, l.doubt.since = noon, noon
			l.record.Rotation.Claim = c.claim
			if c.before != nil {
				c.before(l)
			}
			at := l.doubts(l.record, c.force, noon)
			if want := noon.Add(c.at); at.After(noon) != (c.at > 0) || c.at > 0 && !at.Equal(want) {
				t.Errorf("at %v, want %v", at, want)
			}
			if l.doubt.attempt != c.doubt {
				t.Errorf("in doubt for %q, want %q", l.doubt.attempt, c.doubt)
			}
		})
	}
}

// suspected has one request's refusal on file, which is not believed as long as the request may be guilty.
func suspected(l *lifecycle) {
	l.heed(Objections{Generation: l.generation(), Since: noon, Latest: noon}, noon)
}

func TestADoubtThatFollowsAnotherKeepsItsRefusal(t *testing.T) {
	l := living()
	l.doubt = doubt{attempt: "before", refused: noon}
	l.record.Rotation.Claim = claimBy("them", "theirs")
	l.doubts(l.record, false, noon)
	if l.doubt.attempt != "theirs" || !l.doubt.refused.Equal(noon) {
		t.Errorf("%+v", l.doubt)
	}
}

func TestWhatMayBeSpentByAnEarlierClaim(t *testing.T) {
	for name, c := range map[string]struct {
		claim *record.Claim
		doubt string
		want  bool
	}{
		"there was none": {nil, "", false},
		"it was of another credential": {
			&record.Claim{Holder: "them", AttemptID: "x", Fingerprint: fp("rt-0")}, "", false,
		},
		"it is another process's":              {claimBy("them", "theirs"), "", true},
		"it is ours, and ended well":           {claimBy("us", "ours"), "", false},
		"it is ours, and ended without answer": {claimBy("us", "ours"), "ours", true},
		"it is ours, from before a restart": {
			func() *record.Claim { c := claimBy("us", "ours"); c.Ambiguous = true; return c }(), "", true,
		},
		"another of ours ended without answer":  {claimBy("us", "ours"), "another", false},
		"we doubt a claim of another's as well": {claimBy("them", "theirs"), "theirs", true},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.doubt.attempt = c.doubt
			if got := l.mayBeSpentBy(c.claim, fp("rt-1")); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatAProvidersObjectionsMakeOfADoubt(t *testing.T) {
	const sec = time.Second
	said := func(gen record.Generation, since, latest time.Duration) Objections {
		return Objections{Generation: gen, Refused: true, Since: noon.Add(since), Latest: noon.Add(latest)}
	}
	mark := func(l *lifecycle) {
		c := claimBy("them", "theirs")
		c.Ambiguous = true
		l.record.Rotation.Claim = c
	}
	for name, c := range map[string]struct {
		before  func(*lifecycle)
		told    Objections
		refused bool          // the token is, as far as the lifecycle knows
		doubt   string        // whose
		since   time.Duration // after noon: when the doubt's earliest refusal was; 0: none
	}{
		"a refusal without a doubt is one":      {nil, said(1, 5*sec, 5*sec), true, "", 0},
		"that of another generation is history": {nil, said(2, 5*sec, 5*sec), false, "", 0},
		"a refusal after the doubt speaks against the token": {func(l *lifecycle) {
			l.doubt = doubt{attempt: "ours", noted: noon}
		}, said(1, 5*sec, 5*sec), true, "ours", 5 * sec},
		"one before the doubt has had its refresh": {func(l *lifecycle) {
			l.doubt = doubt{attempt: "ours", noted: noon.Add(9 * sec)}
		}, said(1, 5*sec, 5*sec), true, "ours", 0},
		"what goes on after the doubt counts from its latest": {func(l *lifecycle) {
			l.doubt = doubt{attempt: "ours", noted: noon.Add(9 * sec)}
		}, said(1, 5*sec, 10*sec), true, "ours", 10 * sec},
		"the earliest refusal stays": {func(l *lifecycle) {
			l.doubt = doubt{attempt: "ours", noted: noon, refused: noon.Add(2 * sec)}
		}, said(1, 5*sec, 5*sec), true, "ours", 2 * sec},
		"no news, no change": {func(l *lifecycle) {
			l.objections = said(1, 5*sec, 5*sec)
			l.doubt = doubt{attempt: "ours", noted: noon}
		}, said(1, 5*sec, 5*sec), true, "ours", 0},
		"an accepted token ends what was refused": {func(l *lifecycle) {
			l.doubt = doubt{attempt: "ours", refused: noon.Add(2 * sec)}
		}, Objections{Generation: 1}, false, "ours", 0},
		"a refusal makes the record's mark known": {mark, said(1, 5*sec, 5*sec), true, "theirs", 5 * sec},
		"without a refusal the mark can wait":     {mark, Objections{Generation: 1}, false, "", 0},
		"a mark on another credential says nothing": {func(l *lifecycle) {
			mark(l)
			l.record.Rotation.Claim.Fingerprint = fp("rt-0")
		}, said(1, 5*sec, 5*sec), true, "", 0},
		"a claim without a mark says nothing": {func(l *lifecycle) {
			l.record.Rotation.Claim = claimBy("them", "theirs")
		}, said(1, 5*sec, 5*sec), true, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			if c.before != nil {
				c.before(l)
			}
			l.heed(c.told, noon.Add(20*sec))
			if l.refused() != c.refused || l.doubt.attempt != c.doubt {
				t.Errorf("refused %v, in doubt for %q", l.refused(), l.doubt.attempt)
			}
			if got := l.doubt.refused; got.IsZero() != (c.since == 0) || c.since != 0 && !got.Equal(noon.Add(c.since)) {
				t.Errorf("refused since %v, want %v after noon", got, c.since)
			}
		})
	}
}

func TestADoubtIsAsOldAsTheFirstUseThatMayHaveSpentTheCredential(t *testing.T) {
	for name, c := range map[string]struct {
		doubtful bool
		since    time.Time
	}{
		"this attempt is the first": {false, noon.Add(time.Minute)},
		"one before it was":         {true, noon},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.doubt = doubt{attempt: "before", since: noon, refused: noon}
			l.doubted(claimOf(l, c.doubtful), noon.Add(time.Minute))
			if want := (doubt{attempt: "ours", since: c.since, noted: noon.Add(time.Minute)}); l.doubt != want {
				t.Errorf("%+v, want %+v", l.doubt, want)
			}
		})
	}
}

// claimOf is our confirmed claim on the account's record, as version 2.
func claimOf(l *lifecycle, doubtful bool) *claimed {
	r := l.record.Clone()
	r.Rotation.Claim = &record.Claim{
		AttemptID: "ours", Holder: "us", Fingerprint: record.Fingerprint(l.id, r.Credential()),
	}
	return &claimed{
		stored: stored{r, 2, 1}, driver: l.driver, fingerprint: r.Rotation.Claim.Fingerprint,
		doubtful: doubtful, trigger: record.TriggerRequest,
	}
}
