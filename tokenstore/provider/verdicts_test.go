package provider

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

var update = flag.Bool("update", false, "write the golden files of testdata/verdicts")

// golden compares what the drivers make of answers with a file of testdata/verdicts: a line per answer as the oauth2
// driver takes it, then the lines in which another driver differs.
func golden(t *testing.T, name string, of func(driver string) []string) {
	t.Helper()
	have := of(driverOAuth2)
	for _, driver := range Names() {
		for i, l := range of(driver) {
			if l != have[i] {
				have = append(have, driver+": "+l)
			}
		}
	}
	file := filepath.Join("testdata", "verdicts", name)
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(have, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: write it with go test ./tokenstore/provider -run Verdict -update", err)
	}
	want := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	if len(want) != len(have) {
		t.Errorf("%s: %d lines, want %d", name, len(have), len(want))
	}
	shown := 0
	for i := range min(len(want), len(have)) {
		if want[i] != have[i] && shown < 10 {
			shown++
			t.Errorf("%s:%d\n got %s\nwant %s", name, i+1, have[i], want[i])
		}
	}
}

// corpus reads a section of testdata/words.txt: codes, texts or grants, one a line.
func corpus(t *testing.T, section string) []string {
	t.Helper()
	raw, err := os.ReadFile("testdata/words.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "== "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n== ")
	words := slices.DeleteFunc(strings.Split(rest, "\n"), func(l string) bool { return l == "" })
	if !found || len(words) < 10 {
		t.Fatalf("testdata/words.txt has %d %s", len(words), section)
	}
	return words
}

// A corner of the grid is an answer without its status.
type corner struct{ code, kind, text, challenge, body string }

func (c corner) String() string {
	var out []string
	for _, f := range [][2]string{
		{"code", c.code}, {"type", c.kind}, {"text", c.text}, {"challenge", c.challenge}, {"body", c.body},
	} {
		if f[1] != "" {
			out = append(out, f[0]+"="+f[1])
		}
	}
	return cmp.Or(strings.Join(out, " "), "bare")
}

func (c corner) response(status int) tokenstore.Response {
	h := http.Header{}
	if c.challenge != "" {
		h.Set("www-authenticate", "Bearer error="+c.challenge)
	}
	body := c.body
	if c.code+c.kind+c.text != "" {
		body = fmt.Sprintf(`{"error":{"code":%q,"type":%q,"message":%q}}`, c.code, c.kind, c.text)
	}
	return tokenstore.Response{Status: status, Header: h, Body: []byte(body), BodyRead: true}
}

// corners are each word alone, and one of each sort with one of every other.
func corners(t *testing.T) []corner {
	t.Helper()
	out := []corner{
		{},
		{challenge: "invalid_token"},
		{challenge: "insufficient_scope"},
		{body: "<html>"},
		{body: " <!doctype html>"},
		{body: "{}"},
		{body: "[]"},
	}
	for _, w := range corpus(t, "codes") {
		out = append(out, corner{code: w}, corner{kind: w})
	}
	for _, w := range corpus(t, "texts") {
		out = append(out, corner{text: w})
	}
	for _, code := range []string{
		"", "token_expired", "missing_scope", "account_disabled", "insufficient_quota",
		"unsupported_country_region_territory", "odd",
	} {
		for _, kind := range []string{"", "permission_error"} {
			for _, text := range []string{
				"", "This organization has been disabled.", "OAuth token has been revoked.",
				"Your credit balance is too low to access the Anthropic API.",
				"Unknown model: x", "The scope is missing, no scope", "The token expired or has no scope",
				"OAuth authentication is currently not supported.", "OAuth is not supported: the token expired and lacks a scope",
				"Extra usage is required for long context requests.", "You can only afford 3",
			} {
				for _, challenge := range []string{"", "invalid_token", "insufficient_scope"} {
					out = append(out, corner{code: code, kind: kind, text: text, challenge: challenge})
				}
			}
		}
	}
	return out
}

// statuses of the grid; zero is what a broken peer may send.
var statuses = []int{
	0, 101, 200, 204, 301, 304, 400, 401, 402, 403, 404, 405, 407, 408, 409, 413, 415, 418, 422, 425, 429, 431, 451, 499,
	500, 501, 502, 503, 504, 520, 521, 529, 599,
}

// A change in testdata/verdicts is a change that users see. The first line of answers.txt is an empty answer at every
// status, the others are what differs from it.
func TestTheVerdictOfEveryKnownWordAtEveryStatusIsAsWrittenDown(t *testing.T) {
	grid := corners(t)
	golden(t, "answers.txt", func(driver string) (out []string) {
		d, bare := mustDriver(t, Settings{Driver: driver}), map[int]string{}
		for _, c := range grid {
			line := c.String() + ":"
			for _, status := range statuses {
				v := d.Classify(c.response(status))
				got := v.Class.String() + "/" + v.Scope.String()
				if v.Wait != 0 || v.NeedBody || status >= 400 && (v.Code != cmp.Or(c.code, c.kind) || v.Message != c.text) {
					t.Errorf("%s: %d %s: %+v", driver, status, c, v)
				}
				if bare[status] == "" {
					bare[status] = got
				} else if bare[status] == got {
					continue
				}
				line += fmt.Sprintf(" %d %s", status, got)
			}
			out = append(out, line)
		}
		return out
	})
}

// Every recorded answer is shown to every driver: what stands behind a URL is known only to its operator.
func TestTheVerdictOfARecordedAnswerIsAsWrittenDownForEveryDriver(t *testing.T) {
	golden(t, "recorded.txt", func(driver string) (out []string) {
		d := mustDriver(t, Settings{Driver: driver})
		for _, file := range recordedFiles(t) {
			r := readRecorded(t, file)
			synctest.Test(t, func(*testing.T) {
				resp := tokenstore.Response{Status: r.status, Header: r.header, Peekable: true}
				unread := d.Classify(resp)
				resp.Body, resp.BodyRead = r.body, true
				read := d.Classify(resp)
				out = append(out, fmt.Sprintf("%s: %s/%s %s code=%s message=%.60q unread: %s/%s %s peek=%t room=%t",
					strings.TrimPrefix(file, "testdata/answers/"), read.Class, read.Scope, read.Wait, read.Code, read.Message,
					unread.Class, unread.Scope, unread.Wait, unread.NeedBody, d.Room(r.header)))
			})
		}
		return out
	})
}

// grants are the answers of a token endpoint in which a word may stand.
var grants = []struct{ name, body string }{
	{"rfc6749", `{"error":%q,"error_description":"m"}`},
	{"object.code", `{"error":{"code":%q,"message":"m","type":"invalid_request_error"}}`},
	{"object.status", `{"error":{"code":400,"status":%q,"message":"m"}}`},
	{"object.type", `{"type":"error","error":{"type":%q,"message":"m"}}`},
	{"bare", `{"code":%q,"message":"m"}`},
	{"text", `{"error":"unauthorized_client","error_description":%q}`},
	{"object.text", `{"error":{"code":"odd","message":%q}}`},
	{"page", `<html>%q</html>`},
}

// A class stands where it differs from that of the status before.
func TestTheVerdictOnAFailedRefreshIsAsWrittenDown(t *testing.T) {
	words := corpus(t, "grants")
	golden(t, "grants.txt", func(driver string) (out []string) {
		for _, word := range words {
			for _, g := range grants {
				line, last := word+" "+g.name+":", tokenstore.RefreshClass("")
				for _, status := range statuses[2:] {
					if class := refusedBy(t, driver, status, fmt.Sprintf(g.body, word)); class != last {
						line, last = line+fmt.Sprintf(" %d %s", status, class), class
					}
				}
				out = append(out, line)
			}
		}
		return out
	})
}

// refusedBy is how the driver takes an answer of its token endpoint that grants nothing.
func refusedBy(t *testing.T, name string, status int, body string) tokenstore.RefreshClass {
	t.Helper()
	d, ok := mustDriver(t, Settings{Driver: name}).(*driver)
	if !ok {
		t.Fatalf("%s is a driver of its own making", name)
	}
	r := request{record: fullRecord(), refusals: d.redeemer.refusals}
	_, err := parseAnswer(r, status, http.Header{}, []byte(body))
	var e *tokenstore.RefreshError
	if !errors.As(err, &e) {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	return e.Class
}

func BenchmarkClassify(b *testing.B) {
	ok := http.Header{"Content-Type": {"application/json"}, "Anthropic-Ratelimit-Unified-Status": {"allowed"}}
	limited := http.Header{
		"Anthropic-Ratelimit-Unified-Status": {"rejected"},
		"Anthropic-Ratelimit-Unified-Reset":  {fmt.Sprint(time.Now().Add(time.Hour).Unix())},
	}
	refused := []byte(`{"type":"error","error":{"type":"authentication_error","message":"Invalid bearer token"}}`)
	slower := []byte(`{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`)
	for name, resp := range map[string]tokenstore.Response{
		"200":        {Status: 200, Header: ok},
		"401-unread": {Status: 401, Header: http.Header{}, Peekable: true},
		"401":        {Status: 401, Header: http.Header{}, BodyRead: true, Body: refused},
		"429":        {Status: 429, Header: limited, BodyRead: true, Body: slower},
		"503":        {Status: 503, Header: ok},
	} {
		for _, driver := range Names() {
			d := mustDriver(b, Settings{Driver: driver})
			b.Run(name+"/"+driver, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					d.Classify(resp)
				}
			})
		}
	}
}

func BenchmarkRoom(b *testing.B) {
	d := mustDriver(b, Settings{Driver: driverAnthropic})
	h := http.Header{"Anthropic-Ratelimit-Unified-Status": {"allowed"}}
	b.ReportAllocs()
	for b.Loop() {
		d.Room(h)
	}
}
