package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
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
	r := tokenstore.Record{
		Kind:         tokenstore.KindClientCredentials,
		ClientID:     "c",
		ClientSecret: tokenstore.NewSecret("s"),
		Scope:        "a b",
	}
	if _, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: at}), r); e != nil {
		t.Fatal(e)
	}
	if got.body != "client_id=c&client_secret=s&grant_type=client_credentials&scope=a+b" {
		t.Error(got.body)
	}
}

func TestAnthropicRefreshesAsItsSDKDoes(t *testing.T) {
	at, got := recorder(t)
	r := tokenstore.Record{
		Kind:         tokenstore.KindClaudeCode,
		ClientID:     "c",
		RefreshToken: tokenstore.NewSecret("rt"),
		Scope:        "user:inference",
	}
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
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, goodAnswer)
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL, CAFile: file})
	if _, e := redeem(t, d, fullRecord()); e != nil {
		t.Error(e)
	}
}
