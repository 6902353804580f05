package rotation

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// noon is when the lives of these tests begin.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// tableDriver is what a lifecycle asks of a redeemer. It does no I/O.
type tableDriver struct {
	Redeemer // the rest is never called
	policy   ReplayPolicy
	grace    time.Duration
}

func (d *tableDriver) Check(r record.Record) error {
	if r.Credential().IsZero() && r.AccessToken.IsZero() {
		return &record.Error{Key: "refresh_token", Rule: "must be given"}
	}
	return nil
}

func (d *tableDriver) Refreshable(r record.Record) bool { return !r.RefreshToken.IsZero() }

func (d *tableDriver) Token(r record.Record) record.Secret {
	if r.Kind == record.KindAPIKey {
		return r.APIKey
	}
	return r.AccessToken
}

func (d *tableDriver) Replay() (ReplayPolicy, time.Duration) { return d.policy, d.grace }

// newLife is the lifecycle of account a before anything is known of it. Its process is called us, and draws no jitter.
func newLife() *lifecycle {
	redeemers := map[string]Redeemer{
		"p": &tableDriver{policy: ReplayStrict},
		"q": &tableDriver{policy: ReplayStrict},
	}
	return &lifecycle{id: "a", lives: &lifespans{}, cfg: &Settings{
		Redeemers: redeemers,
		Check: func(r record.Record) error {
			if err := r.Broken(); err != nil {
				return err
			}
			if redeemers[r.Provider] == nil {
				return &record.Error{Key: "provider", Rule: "is not in the configuration"}
			}
			if !slices.Contains([]string{"p", "q"}, r.Serves()[0]) {
				return &record.Error{Key: "pools", Rule: "are not in the configuration"}
			}
			return redeemers[r.Provider].Check(r)
		},
		Holder: "us",
		Random: func() float64 { return 0 },
		Renewal: RenewalConfig{
			ClaimLease: 30 * time.Second, TokenEndpointTimeout: 10 * time.Second,
			BackoffMin: time.Second, BackoffMax: 5 * time.Minute,
		},
	}}
}

// rec is a record with a refresh token, and an access token that lives from noon for an hour.
func rec(refresh, access string, gen record.Generation, edits ...func(*record.Record)) record.Record {
	r := record.Record{
		Provider: "p", Kind: record.KindOAuthRefresh,
		RefreshToken: record.NewSecret(refresh), AccessToken: record.NewSecret(access),
		ObtainedAt: noon, ExpiresAt: noon.Add(time.Hour),
		Rotation: record.Rotation{Incarnation: "i", Generation: gen},
	}
	for _, edit := range edits {
		edit(&r)
	}
	return r
}

// fp is the fingerprint of one of account a's secrets.
func fp(secret string) string { return record.Fingerprint("a", record.NewSecret(secret)) }

// living is an account at noon that has adopted version 1 of a record, rt-1 and at-1 by default.
func living(edits ...func(*record.Record)) *lifecycle {
	l := newLife()
	l.adopted(stored{record: rec("rt-1", "at-1", 1, edits...), version: 1}, noon)
	l.credential.unclaimed = false
	return l
}

// withPolicy has the account's provider follow a replay policy.
func (l *lifecycle) withPolicy(policy ReplayPolicy, grace time.Duration) *lifecycle {
	l.driver = &tableDriver{policy: policy, grace: grace}
	return l
}

// isRefused has the provider refuse the account's token.
func (l *lifecycle) isRefused(at time.Time) {
	l.heed(Objections{Generation: l.generation(), Refused: true, Since: at, Latest: at}, at)
}

// claimBy is a claim of rt-1.
func claimBy(holder, attempt string) *record.Claim {
	return &record.Claim{AttemptID: attempt, Holder: holder, Fingerprint: fp("rt-1")}
}

// picture is what these tests see of a lifecycle.
type picture struct {
	Token      string            // the access token in the record, if picks use one
	Generation record.Generation // of that
	ByHand     bool              // no refresh brought it
	Credential string
	Version    record.Version
	Presence   presence
	Problem    bool // it neither serves nor refreshes
	Flaw       bool
	Given      bool
	Search     bool
	Former     string
	Doubt      string
	Failures   int
	Mended     bool
	Pardon     Pardon
	Responded  bool
	Lost       bool // memory has what the store has lost
}

func (l *lifecycle) picture() picture {
	p := picture{
		Generation: l.generation(), Credential: l.record.Credential().Reveal(), Version: l.version, Presence: l.presence,
		Problem: l.problem != nil, Flaw: l.credential.flaw != nil, Given: l.credential.given, Search: l.credential.search,
		Doubt: l.doubt.attempt, Failures: l.retry.failures, Mended: l.death.mended, Pardon: l.pardon,
		Responded: !l.respondedAt.IsZero(), Lost: l.memory.lost != nil,
	}
	if l.token != nil {
		p.Token, p.ByHand = l.driver.Token(l.record).Reveal(), l.token.Given
	}
	if f := l.credential.former; f != nil {
		p.Former = f.RefreshToken.Reveal()
	}
	return p
}

// want reports how a lifecycle differs from what is expected of it.
func (l *lifecycle) want(t *testing.T, want picture) {
	t.Helper()
	if diff := cmp.Diff(want, l.picture()); diff != "" {
		t.Errorf("- wanted, + got:\n%s", diff)
	}
}

func TestWhatAnAdoptedRecordChanges(t *testing.T) {
	const key = record.KindAPIKey
	asKey := func(secret string) func(*record.Record) {
		return func(r *record.Record) {
			r.Kind, r.APIKey, r.RefreshToken, r.AccessToken = key, record.NewSecret(secret), record.Secret{}, record.Secret{}
			r.ExpiresAt, r.ObtainedAt = time.Time{}, time.Time{}
		}
	}
	noToken := func(r *record.Record) { *r = r.WithoutToken() }
	spent1 := func(r *record.Record) { r.Rotation.Spent = []string{fp("rt-1")} }
	// The account has failed twice and is in doubt. It serves at-1, which a refusal has brought.
	troubled := func(edits ...func(*record.Record)) func() *lifecycle {
		return func() *lifecycle {
			l := living(edits...)
			l.retry = retry{failures: 2, at: noon.Add(time.Minute)}
			l.respondedAt, l.doubt.attempt = noon, "in doubt"
			return l
		}
	}
	for name, c := range map[string]struct {
		before func() *lifecycle
		shows  record.Record
		known  record.Version // 1 but for the first
		as     record.Version
		want   picture
	}{
		"the first one": {newLife, rec("rt-1", "at-1", 7), 0, 3, picture{
			Token: "at-1", Generation: 7, Credential: "rt-1", Version: 3,
		}},
		"the first one of a new account, which was never refreshed": {newLife, rec("rt-1", "at-1", 0), 0, 1, picture{
			Token: "at-1", Generation: 1, ByHand: true, Credential: "rt-1", Version: 1,
		}},
		"the first one, without an access token": {newLife, rec("rt-1", "", 1), 0, 1, picture{
			Credential: "rt-1", Version: 1,
		}},
		"the same one again": {troubled(), rec("rt-1", "at-1", 1), 1, 1, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 1, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"an operator edits what is not the credential": {troubled(), rec("rt-1", "at-1", 1, func(r *record.Record) {
			r.Tenant = "t"
		}), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 2, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"an operator replaces the refresh token": {troubled(), rec("rt-9", "at-1", 1), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-9", Version: 2,
			Given: true, Search: true, Former: "rt-1", Pardon: PardonAccount,
		}},
		"an operator writes another credential, and no access token": {troubled(), rec("rt-9", "", 0), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-9", Version: 2,
			Given: true, Search: true, Former: "rt-1", Pardon: PardonAccount,
		}},
		"an operator writes another credential, and its access token": {troubled(), rec("rt-9", "at-9", 0), 1, 2, picture{
			Token: "at-9", Generation: 2, ByHand: true, Credential: "rt-9", Version: 2,
			Given: true, Search: true, Former: "rt-1", Pardon: PardonAccount,
		}},
		"an operator takes the access token away": {troubled(), rec("rt-1", "at-1", 1, noToken), 1, 2, picture{
			Credential: "rt-1", Version: 2, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"an operator pastes what cannot be a credential": {troubled(), rec("rt 9\n", "at-1", 1), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt 9\n", Version: 2,
			Flaw: true, Given: true, Search: true, Former: "rt-1", Pardon: PardonAccount,
		}},
		"another process has refreshed": {troubled(), rec("rt-2", "at-2", 2, spent1), 1, 2, picture{
			Token: "at-2", Generation: 2, Credential: "rt-2", Version: 2, Responded: true,
		}},
		"another process has refreshed a credential that does not rotate": {troubled(), rec("rt-1", "at-2", 2), 1, 2, picture{
			Token: "at-2", Generation: 2, Credential: "rt-1", Version: 2, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"the store is rolled back to a spent credential": {func() *lifecycle {
			l := troubled()()
			l.adopted(stored{rec("rt-2", "at-2", 2, spent1), 2, 1}, noon)
			return l
		}, rec("rt-1", "at-1", 1), 2, 3, picture{
			Token: "at-2", Generation: 2, Credential: "rt-2", Version: 3, Responded: true, Lost: true,
		}},
		"what an older version had lost is there again": {func() *lifecycle {
			l := living()
			l.memory.lost = &lost{}
			return l
		}, rec("rt-1", "at-1", 1), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 2,
		}},
		"an operator resumes it": {troubled(), rec("rt-1", "at-1", 1, func(r *record.Record) {
			r.Rotation.Resumed = "now"
		}), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 2,
			Doubt: "in doubt", Mended: true, Pardon: PardonAll,
		}},
		"an operator ends its pause": {
			troubled(func(r *record.Record) { r.State = record.Paused }),
			rec("rt-1", "at-1", 1), 1, 2,
			picture{
				Token: "at-1", Generation: 1, Credential: "rt-1", Version: 2,
				Doubt: "in doubt", Mended: true, Pardon: PardonAll,
			},
		},
		"an operator pauses it": {troubled(), rec("rt-1", "at-1", 1, func(r *record.Record) {
			r.State = record.Paused
		}), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 2, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"an operator mends the client": {troubled(), rec("rt-1", "at-1", 1, func(r *record.Record) {
			r.ClientID = "c"
		}), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 2,
			Doubt: "in doubt", Mended: true, Pardon: PardonAll,
		}},
		"its provider is not known any more": {troubled(), rec("rt-1", "at-1", 1, func(r *record.Record) {
			r.Provider = "elsewhere"
		}), 1, 2, picture{
			Credential: "rt-1", Version: 2, Problem: true, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"no pool takes it any more": {troubled(), rec("rt-1", "at-1", 1, func(r *record.Record) {
			r.Pools = []string{"none"}
		}), 1, 2, picture{
			Credential: "rt-1", Version: 2, Problem: true, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"it moves to another provider": {troubled(), rec("rt-9", "at-9", 1, func(r *record.Record) {
			r.Provider = "q"
		}), 1, 2, picture{
			Token: "at-9", Generation: 2, ByHand: true, Credential: "rt-9", Version: 2,
			Given: true, Search: true, Pardon: PardonAccount,
		}},
		"the first one has a key": {newLife, rec("", "", 0, asKey("key-1")), 0, 1, picture{
			Token: "key-1", Generation: 1, ByHand: true, Credential: "key-1", Version: 1,
		}},
		"the first one has what cannot be a key": {newLife, rec("", "", 0, asKey("key 1\n")), 0, 1, picture{
			Credential: "key 1\n", Version: 1, Problem: true, Flaw: true,
		}},
		"a key gives way to what cannot be one": {
			func() *lifecycle { return living(asKey("key-1")) },
			rec("", "", 1, asKey("key 2\n")), 1, 2,
			picture{
				Token: "key-1", Generation: 1, Credential: "key-1", Version: 2, Flaw: true,
				Given: true, Search: true, Pardon: PardonAccount,
			},
		},
		"a read that began before what memory has": {troubled(), rec("rt-0", "at-0", 0), 0, 1, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 1, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"a lower version than the reader knew: the record was made anew": {func() *lifecycle {
			l := living()
			l.version = 5
			return l
		}, rec("rt-9", "at-1", 1), 5, 1, picture{
			Token: "at-1", Generation: 1, Credential: "rt-9", Version: 1,
			Given: true, Search: true, Former: "rt-1", Pardon: PardonAccount,
		}},
		"during a save, which meets it as a conflict": {func() *lifecycle {
			l := living()
			l.saving = true
			return l
		}, rec("rt-9", "at-9", 1), 1, 2, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 1,
		}},
		"it was deleted, and is back": {func() *lifecycle {
			l := living()
			l.unreadable(ErrDeleted, true, stored{})
			return l
		}, rec("rt-1", "at-1", 1), 0, 1, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 1,
		}},
		"it was deleted, and is back with another credential": {func() *lifecycle {
			l := troubled()()
			l.unreadable(ErrDeleted, true, stored{})
			return l
		}, rec("rt-9", "at-9", 1), 0, 2, picture{
			Token: "at-9", Generation: 2, ByHand: true, Credential: "rt-9", Version: 2,
			Doubt: "in doubt", Failures: 2, Responded: true,
		}},
		"it could not be read, and is mended": {func() *lifecycle {
			l := troubled()()
			l.unreadable(record.ErrUnreadable, false, stored{version: 2, known: 1})
			return l
		}, rec("rt-1", "at-1", 1), 2, 3, picture{
			Token: "at-1", Generation: 1, Credential: "rt-1", Version: 3, Doubt: "in doubt", Failures: 2, Responded: true,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := c.before()
			lost := l.adopted(stored{c.shows, c.as, c.known}, noon.Add(10*time.Second))
			l.want(t, c.want)
			if (lost != nil) != c.want.Lost {
				t.Errorf("lost: %v", lost != nil)
			}
		})
	}
}

func TestAnotherCredentialIsNobodyElses(t *testing.T) {
	remade := func(l *lifecycle) { l.unreadable(ErrDeleted, true, stored{}) }
	for name, c := range map[string]struct {
		before  func(*lifecycle)
		shows   string
		foreign bool
	}{
		"the same one is another account's still":               {nil, "rt-1", true},
		"another one has to be looked at":                       {nil, "rt-9", false},
		"the same one, deleted and undeleted, still":            {remade, "rt-1", true},
		"another one, in a record that was deleted and is back": {remade, "rt-9", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.credential.foreign, l.credential.foreignSpent = errors.New("it was b's"), true
			if c.before != nil {
				c.before(l)
			}
			l.adopted(stored{rec(c.shows, "at-1", 1), 2, l.version}, noon)
			if l.credential.foreignSpent != c.foreign || (l.unfit() != nil) != c.foreign {
				t.Errorf("foreign: %v, %v", l.credential.foreignSpent, l.unfit())
			}
			if !l.credential.unclaimed {
				t.Error("nobody is to look whose it is")
			}
		})
	}
}

func TestACredentialThatAPeerRescuedRests(t *testing.T) {
	l := living()
	r := rec("rt-2", "at-1", 2)
	r.Rotation.Last = &record.Outcome{Result: "failed", Class: record.RefreshMisconfigured, Fingerprint: fp("rt-2")}
	l.adopted(stored{r, 2, 1}, noon)
	if want := noon.Add(rescuePause); !l.retry.at.Equal(want) {
		t.Errorf("it is tried again at %v, want %v", l.retry.at, want)
	}
}

func TestALuckierPeerEndsWhatFailedHere(t *testing.T) {
	for name, c := range map[string]struct {
		gen  record.Generation
		ends bool
	}{
		"a record of the same generation says nothing of it": {1, false},
		"a newer generation does":                            {2, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.retry.unwritten = record.Outcome{FailingSince: noon, Error: "no route"}
			l.adopted(stored{rec("rt-1", "at-1", c.gen), 2, 1}, noon)
			if since, _ := l.failing(); since.IsZero() != c.ends {
				t.Errorf("failing since %v", since)
			}
		})
	}
}

func TestARecordThatCannotBeReadKeepsItsToken(t *testing.T) {
	base := picture{Token: "at-1", Generation: 1, Credential: "rt-1", Version: 1}
	with := func(change func(*picture)) picture {
		p := base
		change(&p)
		return p
	}
	away := with(func(p *picture) { p.Version, p.Presence = 0, deleted })
	for name, c := range map[string]struct {
		before   func(*lifecycle)
		deletion bool
		read     stored
		news     bool
		hold     bool
		want     picture
	}{
		"it is deleted":                {nil, true, stored{}, true, true, away},
		"a deletion keeps the version": {nil, true, stored{version: 1, known: 0}, true, true, away},
		"it is found deleted once more": {
			func(l *lifecycle) { l.unreadable(ErrDeleted, true, stored{}) }, true, stored{}, false, true, away,
		},
		"it is deleted during a refresh": {func(l *lifecycle) { l.flight = newFlight("") }, true, stored{}, true, true, away},
		"it is illegible": {nil, false, stored{version: 2, known: 1}, false, false, with(func(p *picture) {
			p.Problem, p.Version = true, 2
		})},
		"it was illegible before memory's version": {nil, false, stored{version: 1, known: 0}, false, false, base},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.peer = peerClaim{"peer's", noon}
			if c.before != nil {
				c.before(l)
			}
			news := l.unreadable(errors.New("broken"), c.deletion, c.read)
			l.want(t, c.want)
			if news != c.news || l.record.OnHold() != c.hold {
				t.Errorf("news %v, on hold %v", news, l.record.OnHold())
			}
			if ignored := c.want == base; (l.peer.attempt != "") != ignored {
				t.Error("whose claim was seen for how long:", l.peer)
			}
			if usable := c.want == base; l.usable() != usable {
				t.Errorf("usable: %v", l.usable())
			}
		})
	}
}

func TestAnAccountThatIsGoneHasNoToken(t *testing.T) {
	l := living()
	l.gone()
	l.want(t, picture{Credential: "rt-1", Presence: removed})
	if l.usable() {
		t.Error("it is usable")
	}
}

func TestAnAccountThatComesBackInheritsWhatIsSpentAndNoMore(t *testing.T) {
	old := living(func(r *record.Record) { r.Rotation.Spent = []string{fp("rt-0")} })
	old.memory.spent = slices.Grow(old.memory.spent, 8) // room in which the two could meet
	old.retry.failures, old.doubt.attempt, old.death.quarantine, old.highest = 3, "in doubt", "dead", 9
	old.memory.orphans, old.memory.lost = []string{"attempt"}, &lost{}
	old.gone()
	l := newLife()
	l.inherits(old)
	l.want(t, picture{Credential: "rt-1"})
	if l.highest != 9 || !l.dead() {
		t.Errorf("highest %d, dead %v", l.highest, l.dead())
	}
	if !l.memory.isSpent(fp("rt-0")) || !slices.Equal(l.memory.orphans, []string{"attempt"}) {
		t.Errorf("memory %+v", l.memory)
	}
	l.memory.spend("the new one's")
	old.memory.spend("the old one's")
	if !l.memory.isSpent("the new one's") {
		t.Error("the two share what is spent")
	}
}
