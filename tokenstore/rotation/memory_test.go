package rotation

import (
	"slices"
	"testing"

	"github.com/tokenward/tokenward/tokenstore/record"
)

func TestMemoryKeepsTheLatestSpentCredentials(t *testing.T) {
	var m memory
	names := make([]string, 0, spentKept+2)
	for i := range spentKept + 2 {
		names = append(names, string(rune('A'+i)))
	}
	m.spend(names...)
	m.spend(names[len(names)-1]) // known already: nothing is forgotten for it
	if len(m.spent) != spentKept || m.isSpent(names[1]) || !slices.ContainsFunc(names[2:3], m.isSpent) {
		t.Errorf("%d are kept; the second: %v, the third: %v", len(m.spent), m.isSpent(names[1]), m.isSpent(names[2]))
	}
}

// rotated is an account that has exchanged rt-1 for rt-2.
func rotated() *lifecycle {
	l := living()
	next := rec("rt-2", "at-2", 2, func(r *record.Record) { r.Rotation.Spent = []string{fp("rt-1")} })
	l.adopted(stored{next, 2, 1}, noon)
	return l
}

func TestARecordThatShowsASpentCredentialGetsItsSuccessorBack(t *testing.T) {
	old := rec("rt-1", "at-1", 1, func(r *record.Record) { r.Tenant = "edited since" })
	for name, c := range map[string]struct {
		before func(*lifecycle)
		shows  record.Record
		want   bool
	}{
		"it shows the spent one":             {nil, old, true},
		"it shows the living one":            {nil, rec("rt-2", "at-2", 2), false},
		"it shows one that an operator gave": {nil, rec("rt-9", "at-9", 1), false},
		"the living one is dead":             {func(l *lifecycle) { l.death.quarantine = "dead" }, old, false},
		"memory's is spent as well":          {func(l *lifecycle) { l.memory.spend(fp("rt-2")) }, old, false},
		"memory has none": {
			func(l *lifecycle) { l.record.RefreshToken = record.NewSecret("") }, old, false,
		},
		"it is an account of another provider's now": {
			nil, rec("rt-1", "at-1", 1, func(r *record.Record) { r.Provider = "q" }), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := rotated()
			if c.before != nil {
				c.before(l)
			}
			lost := l.reverted(stored{c.shows, 7, 2}, noon)
			if (lost != nil) != c.want {
				t.Fatalf("lost: %v", lost)
			}
			if lost == nil {
				return
			}
			e, r := lost.entry, lost.entry.Record
			if lost.version != 7 || e.Spent != fp("rt-1") || e.Attempt == "" || e.Account != "a" {
				t.Errorf("version %d, attempt %q of %q, spent %q", lost.version, e.Attempt, e.Account, e.Spent)
			}
			if r.RefreshToken.Reveal() != "rt-2" || r.AccessToken.Reveal() != "at-2" {
				t.Error("other tokens are to be saved")
			}
			if r.Rotation.Generation != 2 || r.Tenant == "" {
				t.Errorf("to be saved: generation %d, tenant %q", r.Rotation.Generation, r.Tenant)
			}
		})
	}
}

func TestWhatIsLostIsTakenOutOnceAndByNobodyWhoFlies(t *testing.T) {
	l := living()
	l.memory.lost, l.flight = &lost{}, newFlight("")
	if l.takeLost() != nil || l.memory.lost == nil {
		t.Error("it is taken while a flight is in the way")
	}
	l.flight = nil
	if l.takeLost() == nil || l.takeLost() != nil {
		t.Error("it is not taken once")
	}
}

func TestARotationWhoseAccountIsGoneWaitsForIt(t *testing.T) {
	entry := func(attempt, secret string, spent ...string) JournalEntry {
		r := rec(secret, "at", 5)
		r.Rotation.Spent = spent
		return JournalEntry{Attempt: attempt, Record: r}
	}
	for name, c := range map[string]struct {
		before  *lifecycle
		entries []JournalEntry
		knows   string // the credential in memory
	}{
		"known from the journal alone": {newLife(), []JournalEntry{entry("1", "rt-2", fp("rt-1"))}, "rt-2"},
		"known from two entries, in their order": {
			newLife(), []JournalEntry{entry("1", "rt-2", fp("rt-1")), entry("2", "rt-3", fp("rt-2"))}, "rt-3",
		},
		"the newer entry comes first": {newLife(), []JournalEntry{
			entry("2", "rt-3", fp("rt-1"), fp("rt-2")), entry("1", "rt-2", fp("rt-1")),
		}, "rt-3"},
		"memory has the spent one":         {living(), []JournalEntry{entry("1", "rt-2", fp("rt-1"))}, "rt-2"},
		"memory has one that is not spent": {rotated(), []JournalEntry{entry("1", "rt-9", fp("rt-1"))}, "rt-2"},
	} {
		t.Run(name, func(t *testing.T) {
			l := c.before
			var attempts []string
			for _, e := range c.entries {
				l.orphaned(e)
				attempts = append(attempts, e.Attempt)
			}
			if got := l.record.RefreshToken.Reveal(); got != c.knows || !l.memory.isSpent(fp("rt-1")) {
				t.Errorf("memory has %s, spent %v", got, l.memory.isSpent(fp("rt-1")))
			}
			if !slices.Equal(l.memory.orphans, attempts) {
				t.Errorf("%q wait", l.memory.orphans)
			}
		})
	}
}

func TestAJournalledRotationIsSettledByTheRecordThatShowsIt(t *testing.T) {
	for name, c := range map[string]struct {
		shown record.Version
		lost  bool
		taken bool
	}{
		"the record is back":                      {1, false, true},
		"the record was read in another version":  {2, false, false},
		"the record is back without the rotation": {1, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.memory.orphans = []string{"1", "2"}
			if c.lost {
				l.memory.lost = &lost{}
			}
			if got := l.takeOrphans(c.shown); (len(got) == 2) != c.taken || (len(l.memory.orphans) == 0) != c.taken {
				t.Errorf("%q taken, %q left", got, l.memory.orphans)
			}
		})
	}
}
