package provider

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
)

const goodAnswer = `{"access_token":"new","expires_in":60}`

// seen is a grant request as it arrived.
type seen struct {
	header http.Header
	body   string
}

// recorder answers every request with a grant and keeps the last one.
func recorder(t *testing.T) (string, *seen) {
	t.Helper()
	var got seen
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{r.Header, string(body)}
		_, _ = io.WriteString(w, goodAnswer)
	}))
	t.Cleanup(s.Close)
	return s.URL, &got
}

func redeem(t *testing.T, d tokenstore.Driver, r tokenstore.Record) (tokenstore.Grant, *tokenstore.RefreshError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	g, err := d.Refresh(ctx, r)
	var e *tokenstore.RefreshError
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("an error that is no RefreshError: %v", err)
	}
	return g, e
}

func TestEachAuthStyleSendsTheClientOnce(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("client%2F1:cs%3Ap%40ss%25w+rd%2B%C3%A9"))
	for style, want := range map[string]struct {
		authorization string
		params        map[string]string
	}{
		"":       {"", map[string]string{"client_id": "client/1", "client_secret": "cs:p@ss%w rd+é"}},
		"params": {"", map[string]string{"client_id": "client/1", "client_secret": "cs:p@ss%w rd+é"}},
		"header": {basic, map[string]string{}},
		"none":   {"", map[string]string{"client_id": "client/1"}},
	} {
		for _, kind := range []string{"form", "json"} {
			t.Run(style+" "+kind, func(t *testing.T) {
				at, got := recorder(t)
				d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: at, AuthStyle: style, Body: kind})
				if _, e := redeem(t, d, fullRecord()); e != nil {
					t.Fatal(e)
				}
				want.params["grant_type"], want.params["refresh_token"] = "refresh_token", "rt/one+two=="
				params := map[string]string{}
				if kind == "json" {
					if err := json.Unmarshal([]byte(got.body), &params); err != nil {
						t.Fatal(err)
					}
				} else {
					form, err := url.ParseQuery(got.body)
					if err != nil {
						t.Fatal(err)
					}
					for k, v := range form {
						params[k] = strings.Join(v, ",")
					}
				}
				if diff := cmp.Diff(want.params, params); diff != "" {
					t.Error(diff)
				}
				if got.header.Get("authorization") != want.authorization {
					t.Errorf("authorization is %q", got.header.Get("authorization"))
				}
				if c := got.header.Get("content-type"); !strings.HasSuffix(c, map[string]string{"form": "x-www-form-urlencoded", "json": "/json"}[kind]) {
					t.Errorf("content-type is %q", c)
				}
			})
		}
	}
}

func TestClientCredentialsAskForTheRecordsScope(t *testing.T) {
	at, got := recorder(t)
	r := tokenstore.Record{Kind: tokenstore.KindClientCredentials, ClientID: "c", ClientSecret: tokenstore.NewSecret("s"), Scope: "a b"}
	if _, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: at}), r); e != nil {
		t.Fatal(e)
	}
	if got.body != "client_id=c&client_secret=s&grant_type=client_credentials&scope=a+b" {
		t.Error(got.body)
	}
}

func TestAnthropicRefreshesAsItsSDKDoes(t *testing.T) {
	at, got := recorder(t)
	r := tokenstore.Record{Kind: tokenstore.KindClaudeCode, ClientID: "c", RefreshToken: tokenstore.NewSecret("rt"), Scope: "user:inference"}
	if _, e := redeem(t, mustDriver(t, Settings{Driver: driverAnthropic, TokenURL: at}), r); e != nil {
		t.Fatal(e)
	}
	var body map[string]string
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"grant_type": "refresh_token", "refresh_token": "rt", "client_id": "c"}, body); diff != "" {
		t.Error(diff)
	}
	if got.header.Get("anthropic-beta") != "oauth-2025-04-20" || got.header.Get("authorization") != "" {
		t.Error(got.header)
	}
}

// fixedProxy refuses every CONNECT and says which hosts were asked for.
func fixedProxy(t *testing.T) (string, *atomic.Value) {
	t.Helper()
	var host atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host.Store(r.Method + " " + r.Host)
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(s.Close)
	return s.URL, &host
}

func TestEachAnthropicKindHasItsTokenEndpointBehindTheProxy(t *testing.T) {
	for kind, want := range map[tokenstore.Kind]string{
		tokenstore.KindAnthropicOAuth: "CONNECT api.anthropic.com:443", tokenstore.KindClaudeCode: "CONNECT platform.claude.com:443",
	} {
		at, host := fixedProxy(t)
		d := mustDriver(t, Settings{Driver: driverAnthropic, Proxy: at})
		_, e := redeem(t, d, tokenstore.Record{Kind: kind, ClientID: "c", RefreshToken: tokenstore.NewSecret("rt")})
		if e == nil || e.Class != tokenstore.RefreshNotSent {
			t.Errorf("%s: a proxy that lets nothing through: got %v", kind, e)
		}
		if host.Load() != want {
			t.Errorf("%s: asked the proxy for %v, want %s", kind, host.Load(), want)
		}
	}
}

func TestWhatNeverLeftIsNotSent(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + free.Addr().String()
	_ = free.Close()
	strangers := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the grant reached a server of unknown identity") }))
	strangers.Config.ErrorLog = log.New(io.Discard, "", 0) // it would print our refusal of its certificate
	defer strangers.Close()
	for name, at := range map[string]string{"refused connection": closed, "unknown certificate authority": strangers.URL} {
		_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: at}), fullRecord())
		if e == nil || e.Class != tokenstore.RefreshNotSent || e.Status != 0 || e.Message == "" {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

func TestATrustAnchorOfOurOwnIsHonoured(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodAnswer) }))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL, CAFile: file}), fullRecord()); e != nil {
		t.Error(e)
	}
}

// cutter reads one request per connection, writes the given bytes and hangs up.
func cutter(t *testing.T, answer string) (string, *atomic.Int32) {
	t.Helper()
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		requests.Add(1)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, answer)
		_ = c.Close()
	}))
	t.Cleanup(s.Close)
	return s.URL, &requests
}

func TestAnAnswerThatIsCutLeavesTheOutcomeUnknownAndIsNotRepeated(t *testing.T) {
	for name, answer := range map[string]string{
		"before the status": "",
		"in the headers":    "HTTP/1.1 200 OK\r\nContent-Le",
		"in the body":       "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + goodAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			at, requests := cutter(t, answer)
			_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: at}), fullRecord())
			if e == nil || e.Class != tokenstore.RefreshUnknown {
				t.Errorf("got %+v", e)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("the grant was sent %d times", n)
			}
		})
	}
}

// net/http repeats requests on a kept-alive connection that dies, if it can rewind them. A grant must not be repeated.
func TestAGrantIsNotRepeatedWhenAKeptConnectionDies(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var grants atomic.Int32
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for first := true; ; first = false { // answers the first request, hangs up on the second
				r, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, r.Body)
				grants.Add(1)
				if !first {
					break
				}
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(goodAnswer), goodAnswer)
			}
			_ = c.Close()
		}
	}()
	d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: "http://" + l.Addr().String()})
	if _, e := redeem(t, d, fullRecord()); e != nil {
		t.Fatal(e)
	}
	_, e := redeem(t, d, fullRecord())
	if e == nil || e.Class != tokenstore.RefreshUnknown {
		t.Errorf("got %+v", e)
	}
	if n := grants.Load(); n != 2 {
		t.Errorf("two refreshes sent %d grants", n)
	}
	_ = l.Close()
	<-served
}

func TestATimeoutAfterTheRequestLeavesTheOutcomeUnknown(t *testing.T) {
	arrived := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(arrived)
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-arrived
		cancel(context.DeadlineExceeded)
	}()
	_, err := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL}).Refresh(ctx, fullRecord())
	var e *tokenstore.RefreshError
	if !errors.As(err, &e) || e.Class != tokenstore.RefreshUnknown {
		t.Errorf("got %v", err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the grant was sent to another host") }))
		s := httptest.NewServer(http.RedirectHandler(target.URL, status))
		_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL}), fullRecord())
		if e == nil || e.Class != tokenstore.RefreshMisconfigured || e.Status != status {
			t.Errorf("%d: got %+v", status, e)
		}
		s.Close()
		target.Close()
	}
}

func TestAnEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL}), fullRecord())
	if e == nil || e.Class != tokenstore.RefreshUnknown {
		t.Errorf("got %+v", e)
	}
}

func TestNoErrorTextHoldsWhatWasPresented(t *testing.T) {
	var answer func(r *http.Request, body string) (int, string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status, text := answer(r, string(body))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	defer s.Close()
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	const values = "cs:p@ss%w rd+é rt/one+two== at&old\"one key<static>"
	echoes := map[string]func(r *http.Request, body string) (int, string){
		"the request's body": func(_ *http.Request, body string) (int, string) {
			return 400, `{"error":"invalid_grant","error_description":` + quote("you sent "+body) + `}`
		},
		"the values": func(*http.Request, string) (int, string) {
			return 400, `{"error":"invalid_grant","error_description":` + quote(values) + `}`
		},
		"the values across the cut at 256": func(*http.Request, string) (int, string) {
			return 400, `{"error":"invalid_grant","error_description":` + quote(strings.Repeat("x", 250)+values) + `}`
		},
		"the values as code": func(*http.Request, string) (int, string) { return 400, `{"error":` + quote(values) + `}` },
		"the authorization header": func(r *http.Request, _ string) (int, string) {
			return 401, `{"error":{"code":"x","message":` + quote(r.Header.Get("authorization")) + `}}`
		},
		"all of it, as a page": func(r *http.Request, body string) (int, string) {
			return 502, "<html>" + body + r.Header.Get("authorization") + values
		},
	}
	pair := "client%2F1:cs%3Ap%40ss%25w+rd%2B%C3%A9"
	leaks := []string{"cs:p@ss", "rt/one", "at&old", "key<st", "rt%2Fone", "cs%3Ap", base64.StdEncoding.EncodeToString([]byte(pair))[:24], `at&old\"one`}
	for name, echo := range echoes {
		for _, style := range []string{"params", "header"} {
			for _, kind := range []string{"form", "json"} {
				t.Run(name+" "+style+" "+kind, func(t *testing.T) {
					answer = echo
					_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL, AuthStyle: style, Body: kind}), fullRecord())
					if e == nil {
						t.Fatal("refreshed")
					}
					for _, leak := range leaks {
						if text := fmt.Sprintf("%v %+v", e, *e); strings.Contains(text, leak) {
							t.Errorf("%q is in %q", leak, text)
						}
					}
				})
			}
		}
	}
}
