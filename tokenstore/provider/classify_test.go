package provider

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/tokenward/tokenward/tokenstore"
)

// recorded is one file of testdata/answers: two lines of expectation, then an answer as it came over the wire. Times in
// headers count from the midnight at which synctest bubbles begin, 2000-01-01 UTC.
type recorded struct {
	want   string // class, scope and wait once the body was read
	unread string // class from the headers alone, and "peek" if the body is asked for
	status int
	header http.Header
	body   []byte
}

func readRecorded(t testing.TB, file string) recorded {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitN(string(raw), "\n", 3)
	want, okWant := strings.CutPrefix(lines[0], "want: ")
	unread, okUnread := strings.CutPrefix(lines[1], "unread: ")
	if !okWant || !okUnread {
		t.Fatalf("%s: begin with the lines want: and unread:", file)
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(lines[2])), nil)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return recorded{want: want, unread: unread, status: resp.StatusCode, header: resp.Header, body: body}
}

func recordedFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/answers/*/*.txt")
	if err != nil || len(files) < 50 {
		t.Fatalf("found %d recorded answers (%v): the folder testdata/answers is incomplete", len(files), err)
	}
	return files
}

func mustDriver(t testing.TB, s Settings) tokenstore.Driver {
	t.Helper()
	if s.Driver == driverOAuth2 && s.TokenURL == "" {
		s.TokenURL = "https://idp.example/token"
	}
	d, err := New("p", s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEveryRecordedAnswerGetsItsVerdict(t *testing.T) {
	for _, file := range recordedFiles(t) {
		t.Run(strings.TrimPrefix(file, "testdata/answers/"), func(t *testing.T) {
			r := readRecorded(t, file)
			d := mustDriver(t, Settings{Driver: filepath.Base(filepath.Dir(file))})
			synctest.Test(t, func(t *testing.T) {
				v := d.Classify(tokenstore.Response{
					Status: r.status, Header: r.header, Body: r.body, BodyRead: true, Peekable: true,
				})
				got := v.Class.String() + " " + v.Scope.String()
				if v.Wait != 0 {
					got += " wait=" + v.Wait.String()
				}
				if got != r.want {
					t.Errorf("with the body: got %q, want %q", got, r.want)
				}
				if v.NeedBody {
					t.Error("asks for a body that was read")
				}
				v = d.Classify(tokenstore.Response{Status: r.status, Header: r.header, Peekable: true})
				got = v.Class.String()
				if v.NeedBody {
					got += " peek"
				}
				if got != r.unread {
					t.Errorf("headers alone: got %q, want %q", got, r.unread)
				}
			})
		})
	}
}

func TestAVerdictCarriesTheProvidersWords(t *testing.T) {
	for _, c := range []struct{ driver, body, code, message string }{
		{driverAnthropic, `{"type":"error","error":{"type":"authentication_error","message":"Invalid bearer token"}}`, "authentication_error", "Invalid bearer token"},
		{driverOAuth2, `{"error":{"message":"Bad key","type":"invalid_request_error","code":"invalid_api_key"}}`, "invalid_api_key", "Bad key"},
		{driverOAuth2, `{"error":"invalid_token","error_description":"expired"}`, "invalid_token", "expired"},
		{driverAPIKey, `{"error":{"code":401,"message":"No credentials","status":"UNAUTHENTICATED"}}`, "UNAUTHENTICATED", "No credentials"},
	} {
		v := mustDriver(t, Settings{Driver: c.driver}).Classify(tokenstore.Response{
			Status: 401, Header: http.Header{}, Body: []byte(c.body), BodyRead: true,
		})
		if v.Code != c.code || v.Message != c.message {
			t.Errorf("%s: got code %q, message %q; want %q, %q", c.body, v.Code, v.Message, c.code, c.message)
		}
	}
}

func TestAnAnswerOfTheProxyBlamesNoAccount(t *testing.T) {
	for _, name := range Names() {
		d := mustDriver(t, Settings{Driver: name})
		v := d.Classify(tokenstore.Response{
			Status: 503, Header: http.Header{}, Local: true, NotSent: true, Detail: "connection_refused",
		})
		if v.Class != tokenstore.ClassUnreachable || v.Scope != tokenstore.ScopeProvider || v.NeedBody ||
			v.Code != "connection_refused" {
			t.Errorf("%s: never sent: got %+v", name, v)
		}
		v = d.Classify(tokenstore.Response{Status: 401, Header: http.Header{}, Local: true, Peekable: true})
		if v.Class != tokenstore.ClassProviderFault || v.Scope != tokenstore.ScopeProvider || v.NeedBody {
			t.Errorf("%s: a local 401 is not the provider's: got %+v", name, v)
		}
	}
}

func TestAnAbsurdResetIsNoWait(t *testing.T) {
	for header, value := range map[string]string{
		"retry-after": "NaN", "Retry-After": "-5", "retry-after-ms": "Inf", "anthropic-ratelimit-unified-reset": "12",
	} {
		h := http.Header{}
		h.Set(header, value)
		v := mustDriver(t, Settings{Driver: driverAnthropic}).Classify(tokenstore.Response{
			Status: 429, Header: h, BodyRead: true,
		})
		if v.Wait != 0 {
			t.Errorf("%s: %s gives a wait of %v", header, value, v.Wait)
		}
	}
}

// A cooldown's end is kept in Unix nanoseconds, which reach to the year 2262.
func TestNoResetReachesBeyondWhatNanosecondsCanCount(t *testing.T) {
	for header, value := range map[string]string{
		"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "anthropic-ratelimit-unified-reset": "999999999999",
	} {
		h := http.Header{}
		h.Set(header, value)
		v := mustDriver(t, Settings{Driver: driverAnthropic}).Classify(tokenstore.Response{
			Status: 429, Header: h, BodyRead: true,
		})
		now := time.Now()
		if until := now.Add(v.Wait); v.Wait < 0 || until.UnixNano() < now.UnixNano() {
			t.Errorf("%s: %s: a cooldown of %v would end at %d, before it begins", header, value, v.Wait, until.UnixNano())
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, file := range recordedFiles(f) {
		r := readRecorded(f, file)
		f.Add(r.status, "retry-after", r.header.Get("retry-after"), r.body, true)
	}
	f.Add(429, "anthropic-ratelimit-unified-reset", "999999999999", []byte(nil), false)
	f.Add(429, "retry-after-ms", "1e9", []byte(`{"error":[]}`), true)
	var drivers []tokenstore.Driver
	for _, name := range Names() {
		drivers = append(drivers, mustDriver(f, Settings{Driver: name}))
	}
	f.Fuzz(func(t *testing.T, status int, header, value string, body []byte, read bool) {
		h := http.Header{}
		h.Set(header, value)
		for _, d := range drivers {
			v := d.Classify(tokenstore.Response{Status: status, Header: h, Body: body, BodyRead: read})
			switch {
			case strings.HasPrefix(v.Class.String(), "Class("), strings.HasPrefix(v.Scope.String(), "Scope("):
				t.Fatalf("no verdict: %+v", v)
			case v.Wait < 0:
				t.Fatalf("negative wait %v", v.Wait)
			case v.NeedBody && read:
				t.Fatal("asks for a body that was read")
			case len(v.Message) > 1024:
				t.Fatalf("message of %d bytes", len(v.Message))
			case status >= 500 && v.Scope == tokenstore.ScopeAccount:
				t.Fatalf("status %d blames the account: %+v", status, v)
			}
		}
	})
}

func TestARefusalSpeaksTheProvidersFormat(t *testing.T) {
	ref := tokenstore.Refusal{
		Status:          503,
		Reason:          tokenstore.ReasonCredentialsRefused,
		Message:         "tried all accounts",
		ProviderStatus:  401,
		ProviderMessage: `say "please"`,
	}
	type shaped struct {
		Type  string
		Error struct{ Type, Message, Code string }
		Ours  struct {
			Reason string
			Status int `json:"provider_status"`
		} `json:"tokenward"`
	}
	for _, name := range Names() {
		kind, body := mustDriver(t, Settings{Driver: name}).Shape(ref)
		var got shaped
		if err := json.Unmarshal(body, &got); err != nil || kind != "application/json" || !utf8.Valid(body) {
			t.Fatalf("%s: %s %s: %v", name, kind, body, err)
		}
		if !strings.Contains(got.Error.Message, "tried all accounts") ||
			!strings.Contains(got.Error.Message, `401: say "please"`) {
			t.Errorf("%s: the message lacks our words or the provider's: %q", name, got.Error.Message)
		}
		if got.Ours.Reason != "credentials_refused" || got.Ours.Status != 401 {
			t.Errorf("%s: reason and status are missing: %s", name, body)
		}
		if isAnthropic := name == driverAnthropic; (got.Type == "error") != isAnthropic ||
			(got.Error.Code == "") != isAnthropic {
			t.Errorf("%s: not the provider's error object: %s", name, body)
		}
	}
	_, body := mustDriver(t, Settings{Driver: driverAnthropic}).Shape(tokenstore.Refusal{
		Status: 429, Reason: tokenstore.ReasonAllCooling, Message: "wait",
	})
	if !bytes.Contains(body, []byte("rate_limit_error")) || bytes.Contains(body, []byte("provider_status")) {
		t.Errorf("all accounts cooling: %s", body)
	}
}
