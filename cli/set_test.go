package cli

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestSetChangesWhatIsGivenAndNothingElse(t *testing.T) {
	claim := &tokenstore.Claim{AttemptID: "x", Holder: "h"}
	for name, c := range map[string]struct {
		args []string
		want func(r *tokenstore.Record)
	}{
		"limits":                {[]string{"--rpm", "5", "--concurrency", "2"}, func(r *tokenstore.Record) { r.Limits.RPM, r.Limits.Concurrency = 5, 2 }},
		"no limit":              {[]string{"--rpm", "0"}, func(r *tokenstore.Record) { r.Limits.RPM = 0 }},
		"a further label":       {[]string{"--label", "tier=gold,zone=b"}, func(r *tokenstore.Record) { r.Labels["tier"], r.Labels["zone"] = "gold", "b" }},
		"a label removed":       {[]string{"--label", "team="}, func(r *tokenstore.Record) { delete(r.Labels, "team") }},
		"a label removed again": {[]string{"--unlabel", "team", "--unlabel", "none"}, func(r *tokenstore.Record) { delete(r.Labels, "team") }},
		"pools":                 {[]string{"--pool", "p", "--pool", "spare"}, func(r *tokenstore.Record) { r.Pools = []string{"p", "spare"} }},
		"the provider's pool":   {[]string{"--pool", ""}, func(r *tokenstore.Record) { r.Pools = nil }},
		"tenant":                {[]string{"--tenant", "x"}, func(r *tokenstore.Record) { r.Tenant = "x" }},
		"no tenant":             {[]string{"--tenant", ""}, func(r *tokenstore.Record) { r.Tenant = "" }},
		"client and scope":      {[]string{"--client-id", "other", "--scope", "all"}, func(r *tokenstore.Record) { r.ClientID, r.Scope = "other", "all" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			old := living()
			old.Limits.RPM = 9
			old.Rotation.Claim = claim
			s.put(t, "a", old)
			has(t, s.good(t, append([]string{"accounts", "set", "a"}, c.args...)...), "account a is changed", "stay as they are")
			want := old.Clone()
			c.want(&want)
			want.Rotation.Writer = "operator" // every write tells whose it is, and has an id of its own
			want.Rotation.WriteID = s.record(t, "a").Rotation.WriteID
			if got := s.record(t, "a"); fmt.Sprint(plain(t, got)) != fmt.Sprint(plain(t, want)) {
				t.Errorf("got  %s\nwant %s", plain(t, got), plain(t, want))
			}
			expect(t, "grants", s.driver.Calls(), 0)
			has(t, s.good(t, append([]string{"accounts", "set", "a"}, c.args...)...), "account a is as it was")
		})
	}
}

func plain(t *testing.T, r tokenstore.Record) string {
	t.Helper()
	b, err := tokenstore.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSetRefusesWhatMakesNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing":          {nil, ExitUsage, "there is nothing to change"},
		"unknown pool":     {[]string{"--pool", "nope"}, ExitUsage, `pool "nope"`},
		"another's pool":   {[]string{"--pool", "spare", "--pool", "other"}, ExitUsage, `pool "other" takes accounts of provider q`},
		"limit":            {[]string{"--rpm", "-1"}, ExitUsage, "limits.rpm"},
		"a label of copy":  {[]string{"--label", "copied-to=x"}, ExitUsage, "belongs to tokenward accounts copy"},
		"a nameless label": {[]string{"--label", "=x"}, ExitUsage, "no name"},
		"no such account":  {[]string{"--rpm", "1"}, ExitFailed, "account nobody does not exist"},
	} {
		s := newShell(t)
		s.put(t, "a", living())
		id := map[bool]string{true: "nobody", false: "a"}[name == "no such account"]
		r := s.run(t, "", append([]string{"accounts", "set", id}, c.args...)...)
		expect(t, name+": exit code", r.code, c.code)
		has(t, r.err, c.says)
		untouched(t, s)
	}
}

func TestAnotherClientIsTriedWithACleanSheet(t *testing.T) {
	s := newShell(t)
	dead := living()
	dead.Rotation.Last = &tokenstore.Outcome{Result: "failed", Class: tokenstore.RefreshPermanent, Fingerprint: tokenstore.Fingerprint("a", dead.RefreshToken)}
	s.put(t, "a", dead)
	s.good(t, "accounts", "set", "a", "--client-id", "right")
	has(t, s.good(t, "accounts", "show", "a"), "active")
}

func TestAddWithoutACredentialIsRefusedWithTheHintToSet(t *testing.T) {
	for _, args := range [][]string{nil, {"--rpm", "5"}, {"--label", "a=b"}, {"--pool", "p"}, {"--provider", "q"}, {"--client-id", "x"}, {"--force"}} {
		s := newShell(t)
		s.put(t, "a", living())
		r := s.run(t, "", append([]string{"accounts", "add", "a"}, args...)...)
		expect(t, fmt.Sprint("exit code of ", args), r.code, ExitRefused)
		has(t, r.err, "adding account a: it exists, and no new credential was given", "tokenward accounts set a", "--refresh-token-file")
		if slices.Contains(args, "--rpm") {
			has(t, r.err, "set a --rpm")
		}
		untouched(t, s)
	}
}
