package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestNothingInACellSteersTheTerminalOrForgesARow(t *testing.T) {
	for in, want := range map[string]string{
		"plain, größer, 日本 🚀": "plain, größer, 日本 🚀",
		"\x1b[31mred":         `\x1b[31mred`,
		"a\nb\tc\rd":          `a\nb\tc\x0dd`,
		"\x00\x7f":            `\x00\x7f`,
		"\u009b31m":           `\x9b31m`,
		"ab\u202edc\u2066x":   `ab\u202edc\u2066x`,
		"\u200bhid\ufeffden":  `\u200bhid\ufeffden`,
		"\u2028\U000e0041":    `\u2028\U000e0041`,
		"bad \xff utf-8":      "bad \ufffd utf-8",
	} {
		var out bytes.Buffer
		row(&out, "x", in, 3)
		if got := out.String(); got != "x\t"+want+"\t3\n" && got != "x\t"+in+"\t3\n" || strings.ContainsFunc(strings.ReplaceAll(got[:len(got)-1], "\t", ""), steers) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		data, err := json.Marshal(map[string]string{"k": in})
		if err != nil {
			t.Fatal(err)
		}
		safe := CleanJSON(data)
		var back map[string]string
		if err := json.Unmarshal(safe, &back); err != nil || back["k"] != strings.ToValidUTF8(in, "\ufffd") || strings.ContainsFunc(string(safe), steers) {
			t.Errorf("%q as JSON: %q, %v", in, safe, err)
		}
	}
}

func TestTablesOfHostileRecordsAreHarmless(t *testing.T) {
	s := newShell(t)
	r := living()
	r.Pools, r.Tenant, r.ClientID = []string{"spare", "\x1b[2Jx\ngood  p  active"}, "\u202eacme", "c\u009b1m"
	r.Labels = map[string]string{tokenstore.LabelCopiedTo: "\x1b]0;title\x07"}
	s.put(t, "a", r)
	for _, args := range [][]string{{"accounts", "list"}, {"accounts", "show", "a"}, {"accounts", "list", "-o", "json"}, {"accounts", "show", "a", "-o", "json"}} {
		if out := s.good(t, args...); strings.ContainsFunc(out, steers) || strings.Contains(out, "\ngood") {
			t.Errorf("%v: %q", args, out)
		}
	}
}

func TestCommandsInAdviceAreForTheConfigurationInUse(t *testing.T) {
	for _, c := range []struct{ config, advice, want string }{
		{"", "run `tokenward accounts resume a`", "run `tokenward accounts resume a`"},
		{"/etc/t.yaml", "run `tokenward accounts resume a` now", "run `tokenward accounts resume a -c /etc/t.yaml` now"},
		{"it's.yaml", "`tokenward check --online`", "`tokenward check --online -c 'it'\\''s.yaml'`"},
		{"t.yaml", "`tokenward accounts resume -- -a`", "`tokenward accounts resume -c t.yaml -- -a`"},
		{"t.yaml", "unpaired ` tokenward and `vault kv get x`", "unpaired ` tokenward and `vault kv get x`"},
	} {
		expect(t, c.advice, (&app{config: c.config}).withConfig(c.advice), c.want)
	}
}
