package provider

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
)

// with adds a driver for the time of a test.
func with(t *testing.T, s Spec) {
	t.Helper()
	before := Specs
	Specs = append(slices.Clone(Specs), s)
	t.Cleanup(func() { Specs = before })
}

// acme is a driver as docs/drivers.md has it: a provider with words, a shape and a kind of its own.
var acme = Spec{
	Name: "acme", DefaultURL: "https://api.acme.example", Kinds: acmeKinds,
	Shows: slices.Concat([]string{"acme-*"}, everyoneShows),
	New:   func(s Settings) (tokenstore.Driver, error) { return newDriver(s, acmeKinds, acmeDialect, showBearer) },
}

var acmeKinds = []Kind{{
	Name: "ACME_LOGIN", Needs: []string{"device", "refresh_token"}, OrToken: true, Grant: "refresh_token",
	TokenURL: "https://login.acme.example/token",
}}

var acmeDialect = newDialect(
	func(body []byte) said {
		code, message, _ := strings.Cut(string(body), ": ")
		return said{code: code, message: message}
	},
	func(ref tokenstore.Refusal) map[string]any { return map[string]any{"acme": refusalText(ref)} },
	tables{
		rules: []rule[verdict]{
			{when{status: []int{402}, code: codes("napping")}, overloaded, "docs/drivers.md"},
			{when{status: []int{418}}, overloaded, "docs/drivers.md"},
			{when{status: []int{403}, code: codes("token_expired")}, forbidden, "docs/drivers.md"},
			{when{status: []int{200}}, broke, "docs/drivers.md"},
		},
		refusals: []rule[tokenstore.RefreshClass]{
			{when{status: []int{429}, exact: exact{"gone_fishing"}}, tokenstore.RefreshPermanent, "docs/drivers.md"},
		},
		limits: limits{asked: []ask{{"acme-pause-ms", time.Millisecond}}, room: []string{"acme-left"}},
	},
)

func TestADriversOwnRowsComeFirstThenEveryonesThenTheStatus(t *testing.T) {
	with(t, acme)
	d := mustDriver(t, Settings{Driver: "acme"})
	for body, want := range map[string]struct {
		status int
		class  tokenstore.Class
	}{
		"napping: come back":           {402, tokenstore.ClassOverloaded},
		"awake: pay":                   {402, tokenstore.ClassBilling},
		"token_expired: of the plan":   {403, tokenstore.ClassForbidden},
		"token_revoked: as others say": {403, tokenstore.ClassTokenRejected},
		"account_disabled: graver":     {403, tokenstore.ClassAccountBlocked},
		"odd: by the status":           {418, tokenstore.ClassOverloaded},
		"odd: by nothing":              {419, tokenstore.ClassRequestFault},
		"odd: words":                   {401, tokenstore.ClassTokenRejected},
		"fine: accepted":               {200, tokenstore.ClassOK},
	} {
		resp := tokenstore.Response{Status: want.status, Header: http.Header{}, Body: []byte(body), BodyRead: true}
		if v := d.Classify(resp); v.Class != want.class {
			t.Errorf("%d %s: %s, want %s", want.status, body, v.Class, want.class)
		}
	}
	busy := tokenstore.Response{Status: 503, Header: lines("acme-pause-ms: 1500\nretry-after: 9")}
	if wait := d.Classify(busy).Wait; wait != 1500*time.Millisecond {
		t.Errorf("the provider's own header counts for %s", wait)
	}
	if !d.Room(lines("acme-left: 7")) || d.Room(lines("acme-left: 0")) {
		t.Error("what is left of its limit is not read")
	}
	for _, c := range []struct {
		body string
		want tokenstore.RefreshClass
	}{
		{`{"error":"gone_fishing"}`, tokenstore.RefreshPermanent}, {`{"error":"invalid_grant"}`, tokenstore.RefreshTransient},
	} {
		if got := refusedBy(t, "acme", 429, c.body); got != c.want {
			t.Errorf("%s: %s, want %s", c.body, got, c.want)
		}
	}
}

func TestADriversKindsSayWhatARecordNeedsAndWhereItIsRefreshed(t *testing.T) {
	with(t, acme)
	d := mustDriver(t, Settings{Driver: "acme"})
	r := tokenstore.Record{Kind: "ACME_LOGIN", RefreshToken: tokenstore.NewSecret("rt")}
	want := &tokenstore.RecordError{Key: "device", Rule: "must be given for this type"}
	if diff := cmp.Diff(want, d.Check(r)); diff != "" {
		t.Error(diff)
	}
	r.Extra = map[string]json.RawMessage{"device": json.RawMessage(`"d-1"`)}
	if err := d.Check(r); err != nil || !d.Refreshable(r) {
		t.Errorf("with all that its kind needs: %v, refreshable %v", err, d.Refreshable(r))
	}
	r.Kind = tokenstore.KindAPIKey
	if err := d.Check(r); err == nil || !strings.HasSuffix(err.Error(), "type: must be ACME_LOGIN with the acme driver") {
		t.Errorf("another's kind: %v", err)
	}
	if got := tokenURLs(Settings{Driver: "acme"}); !slices.Equal(got, []string{"https://login.acme.example/token"}) {
		t.Errorf("its token endpoints are %v", got)
	}
}

// What stands in a Spec is compared in lower case, and by whole names or beginnings of names.
func TestEverySpecIsInTheFormThatOthersReadItIn(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Specs {
		if s.Name == "" || seen[s.Name] || len(s.Kinds) == 0 || s.New == nil {
			t.Errorf("%q has no name of its own, no kinds or nothing that makes it", s.Name)
		}
		seen[s.Name] = true
		c := s.Credentials
		for _, h := range slices.Concat(s.Shows, s.Owns, c.Headers, c.Payers, c.Organisations) {
			if h != strings.ToLower(h) || h == "*" || h == "" || strings.Contains(strings.TrimSuffix(h, "*"), "*") {
				t.Errorf("%s: header %q", s.Name, h)
			}
		}
		for _, h := range s.Asks {
			if name, value, ok := strings.Cut(h, ": "); !ok || name == "" || value == "" || strings.Contains(h, "'") {
				t.Errorf("%s asks clients for %q", s.Name, h)
			}
		}
		for _, k := range s.Kinds {
			if len(k.Needs) == 0 || k.Name == "" || k.Grant == "" && k.TokenURL != "" {
				t.Errorf("%s: kind %+v", s.Name, k)
			}
		}
	}
}

// A row without a source cannot be checked against what its provider says today; a recorded answer must be there.
func TestEveryRowNamesItsSource(t *testing.T) {
	var sources []string
	for d := range dialects(t) {
		for _, r := range d.rules {
			sources = append(sources, r.source)
		}
		for _, r := range d.refusals {
			sources = append(sources, r.source)
		}
	}
	for _, s := range sources {
		if s == "" {
			t.Error("a row has none")
		}
		if strings.HasPrefix(s, "answers/") {
			if files, err := filepath.Glob(filepath.Join("testdata", s)); err != nil || len(files) == 0 {
				t.Errorf("there is no %s (%v)", s, err)
			}
		}
	}
	if len(sources) < 80 {
		t.Errorf("%d rows", len(sources))
	}
}

// A driver without recorded answers has never been held against its provider.
func TestEveryDriverHasRecordedAnswers(t *testing.T) {
	for _, s := range Specs {
		files, err := filepath.Glob(filepath.Join("testdata", "answers", s.Name, "*.txt"))
		if err != nil || len(files) < 10 {
			t.Errorf("%s has %d (%v)", s.Name, len(files), err)
		}
	}
}

// dialects are those of all drivers.
func dialects(t *testing.T) map[*dialect]bool {
	t.Helper()
	out := map[*dialect]bool{}
	for _, name := range Names() {
		d, ok := mustDriver(t, Settings{Driver: name}).(*driver)
		if !ok {
			t.Fatalf("%s is a driver of its own making", name)
		}
		out[d.dialect] = true
	}
	return out
}

// A part of a message may be a client's words, so that it lowers a verdict and never raises one.
func TestNoRowBlamesAnAccountForAPartOfAMessage(t *testing.T) {
	partial := 0
	for d := range dialects(t) {
		for _, r := range d.rules {
			if r.like == nil {
				continue
			}
			partial++
			if r.means != forbidden && r.means != misconfigured {
				t.Errorf("status %v, %s: %v for words of anybody", r.status, r.like, r.means)
			}
		}
	}
	if partial < 5 {
		t.Errorf("%d rows look at parts", partial)
	}
}

// A row that looks into the body would wait in vain where none is read.
func TestNoRowWantsABodyThatIsNeverRead(t *testing.T) {
	for d := range dialects(t) {
		for _, r := range d.rules {
			wants := r.code != nil || r.word != nil || r.text != nil || r.like != nil || r.exact != nil
			read := len(r.status) > 0 && !slices.ContainsFunc(r.status, func(status int) bool {
				return !slices.Contains(bodyTells, status)
			})
			if wants && !read {
				t.Errorf("status %v: %v, of %s", r.status, r.means, r.source)
			}
		}
	}
}
