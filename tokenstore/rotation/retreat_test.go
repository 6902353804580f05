package rotation

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Tests of what an account does with a former credential.

func formerOf(secret string) *record.Former {
	return &record.Former{Kind: record.KindOAuthRefresh, RefreshToken: record.NewSecret(secret)}
}

func TestWhichFormerCredentialIsKept(t *testing.T) {
	keeps := func(secret string) func(*record.Record) {
		return func(r *record.Record) { r.Former = formerOf(secret) }
	}
	isDead := func(r *record.Record) { r.Rotation.Dead = &record.Dead{Fingerprint: fp("rt-1")} }
	deadHere := living() // and nobody could write that down
	deadHere.death.quarantine = "dead"
	rejected := func(secret string, at time.Time) func(*record.Record) {
		return func(r *record.Record) { r.Rotation.Rejected = &record.Rejection{At: at, Fingerprint: fp(secret)} }
	}
	for name, c := range map[string]struct {
		was   *lifecycle
		shows record.Record
		given bool
		want  string // kept in memory
	}{
		"an operator replaces a proven one":                  {living(), rec("rt-9", "at-1", 1), true, "rt-1"},
		"he replaces one that was never proven":              {living(keeps("rt-0")), rec("rt-9", "at-1", 1), true, "rt-0"},
		"he replaces a dead one":                             {living(isDead), rec("rt-9", "at-1", 1), true, ""},
		"he replaces one that memory alone knows to be dead": {deadHere, rec("rt-9", "at-1", 1), true, ""},
		"his command has kept the former one":                {living(), rec("rt-9", "at-1", 1, keeps("rt-1")), true, ""},
		"he replaces what cannot be one": {
			living(func(r *record.Record) { r.RefreshToken = record.NewSecret("r t") }), rec("rt-9", "at-1", 1), true, "",
		},
		"he puts back the former one": {living(keeps("rt-0")), rec("rt-0", "at-1", 1), false, ""},
		"a peer has rejected the given one": {
			living(keeps("rt-0")), rec("rt-0", "at-1", 1, rejected("rt-1", noon)), false, "",
		},
		"a peer has exchanged it": {living(), rec("rt-2", "at-2", 2), false, ""},
		"an old rejection is no news": {
			living(rejected("rt-1", noon)), rec("rt-9", "at-1", 1, rejected("rt-1", noon)), true, "rt-1",
		},
		"another rejection is, but was another's": {living(), rec("rt-9", "at-1", 1, rejected("rt-7", noon)), true, "rt-1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.was.adopted(stored{c.shows, 2, 1}, noon.Add(time.Second))
			got := ""
			if f := c.was.credential.former; f != nil {
				got = f.RefreshToken.Reveal()
			}
			if c.was.credential.given != c.given || got != c.want {
				t.Errorf("given %v, former %q; want %v, %q", c.was.credential.given, got, c.given, c.want)
			}
		})
	}
}

func TestTheFormerCredentialKeepsTheClaimThatWasOnIt(t *testing.T) {
	for name, c := range map[string]struct {
		was, shows *record.Claim
		want       string
	}{
		"there was none":                             {nil, nil, ""},
		"its refresh was under way":                  {claimBy("them", "theirs"), nil, "theirs"},
		"its refresh began when memory did not look": {nil, claimBy("them", "theirs"), "theirs"},
		"the claim is on the new one":                {nil, &record.Claim{AttemptID: "x", Fingerprint: fp("rt-9")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := living(func(r *record.Record) { r.Rotation.Claim = c.was })
			next := rec("rt-9", "at-1", 1, func(r *record.Record) { r.Rotation.Claim = c.shows })
			l.adopted(stored{next, 2, 1}, noon)
			got := ""
			if claim := l.credential.former.Claim; claim != nil {
				got = claim.AttemptID
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestWhichCredentialsMayComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		memory, inRecord *record.Former
		spent            string
		want             []string
	}{
		"none":                                {nil, nil, "", nil},
		"memory's before the record's":        {formerOf("rt-8"), formerOf("rt-7"), "", []string{"rt-8", "rt-7"}},
		"not one that memory knows spent":     {formerOf("rt-8"), formerOf("rt-7"), "rt-8", []string{"rt-7"}},
		"not what cannot be one":              {formerOf("r t"), formerOf("rt-7"), "", []string{"rt-7"}},
		"not one that the record tells spent": {nil, formerOf("rt-0"), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := living(func(r *record.Record) { r.Rotation.Spent = []string{fp("rt-0")} })
			l.credential.former, l.record.Former = c.memory, c.inRecord
			if c.spent != "" {
				l.memory.spend(fp(c.spent))
			}
			var got []string
			for _, f := range l.formers(l.record) {
				got = append(got, f.RefreshToken.Reveal())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestARecordFallsBackToItsFormerCredential(t *testing.T) {
	r := rec("rt-9", "at-1", 1, func(r *record.Record) { r.Former = formerOf("rt-1") })
	next := fallBack("a", r, r.Former, "no good", noon)
	no := next.Rotation.Rejected
	if next.RefreshToken.Reveal() != "rt-1" || next.Former != nil {
		t.Errorf("%+v", next)
	}
	if no.Fingerprint != fp("rt-9") || no.Error != "no good" || !no.At.Equal(noon) {
		t.Errorf("rejected %+v", no)
	}
	if !record.FellBack("a", next, fp("rt-9")) {
		t.Error("others cannot tell")
	}
}

func TestARuleIsTheErrorWithoutItsFrame(t *testing.T) {
	for want, err := range map[string]error{
		"refresh_token must be one word": &record.Error{Key: "refresh_token", Rule: "must be one word"},
		"something else":                 errors.New("something else"),
	} {
		if got := ruleOf(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A rotation of rt-1 to rt-2 meets what somebody wrote during the refresh.
func TestWhereARotationGoesInWhatSomebodyWroteMeanwhile(t *testing.T) {
	claimed := func(attempt, secret string) func(*record.Record) {
		return func(r *record.Record) { r.Rotation.Claim = &record.Claim{AttemptID: attempt, Fingerprint: fp(secret)} }
	}
	edited := func(r *record.Record) { r.Tenant = "edited" }
	elsewhere := func(r *record.Record) { r.Rotation.Incarnation = "j" }
	keeps := func(r *record.Record) {
		r.Former = &record.Former{Kind: r.Kind, RefreshToken: record.NewSecret("rt-1"), Since: noon}
	}
	newer := func(r *record.Record) { r.ObtainedAt = noon.Add(time.Hour) }
	type result struct{ credential, access, former, claim string }
	for name, c := range map[string]struct {
		cur     record.Record
		rotates string // the credential that the refresh brought
		want    result
	}{
		"an edit of something else": {
			rec("rt-1", "at-1", 1, claimed("ours", "rt-1"), edited), "rt-2", result{"rt-2", "at-2", "", ""},
		},
		"a claim of what is spent": {
			rec("rt-1", "at-1", 1, claimed("theirs", "rt-1"), edited), "rt-2", result{"rt-2", "at-2", "", ""},
		},
		"a claim of what is not": {
			rec("rt-1", "at-1", 1, claimed("theirs", "rt-1"), edited), "rt-1", result{"rt-1", "at-2", "", "theirs"},
		},
		"one spent longer ago": {rec("rt-0", "at-0", 1, edited), "rt-2", result{"rt-2", "at-2", "", ""}},
		"another life's":       {rec("rt-9", "at-9", 1, elsewhere, edited), "rt-2", result{"rt-2", "at-2", "", ""}},

		"a credential that an operator gave": {
			rec("rt-9", "at-1", 1, claimed("ours", "rt-1"), edited), "rt-2", result{"rt-9", "at-2", "rt-2", ""},
		},
		"one that is being proven already": {
			rec("rt-9", "at-1", 1, claimed("theirs", "rt-9"), edited), "rt-2", result{"rt-9", "at-2", "rt-2", "theirs"},
		},
		"one with an access token of its own": {
			rec("rt-9", "at-9", 1, newer, edited), "rt-2", result{"rt-9", "at-9", "rt-2", ""},
		},
		"one that is kept with what was replaced": {
			rec("rt-9", "at-1", 1, elsewhere, keeps, edited), "rt-2", result{"rt-9", "at-2", "rt-2", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := living()
			l.memory.spend(fp("rt-0"))
			fruit := rec(c.rotates, "at-2", 2, func(r *record.Record) { r.ObtainedAt = noon.Add(time.Minute) })
			next := l.rebased(c.cur, JournalEntry{Attempt: "ours", Spent: fp("rt-1"), Record: fruit}, noon.Add(time.Hour))
			got := result{credential: next.RefreshToken.Reveal(), access: next.AccessToken.Reveal()}
			if next.Former != nil {
				got.former = next.Former.RefreshToken.Reveal()
			}
			if next.Rotation.Claim != nil {
				got.claim = next.Rotation.Claim.AttemptID
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			is := next.Rotation
			if next.Tenant != "edited" || is.Generation != 2 || is.Incarnation != c.cur.Rotation.Incarnation {
				t.Errorf("tenant %q, generation %d, incarnation %s", next.Tenant, is.Generation, is.Incarnation)
			}
			if c.cur.Former != nil && !next.Former.Since.Equal(noon) {
				t.Errorf("replaced at %v", next.Former.Since)
			}
		})
	}
}
