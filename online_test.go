package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/cli"
	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tokenstore"
)

// configured is a configuration whose token endpoint gives the status, in a folder of its own.
func configured(t *testing.T, status int) *config.Config {
	t.Helper()
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(idp.Close)
	file := filepath.Join(t.TempDir(), defaultFile)
	text := fmt.Sprintf(`providers: { idp: { driver: oauth2, token_url: %q } }
upstreams: { idp: { url: "https://llm.example" } }
routes: { all: { upstreams: [idp] } }
`, idp.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func add(t *testing.T, c *config.Config, id tokenstore.AccountID, edit func(*tokenstore.Record)) {
	t.Helper()
	b, err := openBackend(t.Context(), c.Store, nil, tokenstore.Secret{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	r := tokenstore.Record{
		Provider: "idp", Kind: tokenstore.KindOAuthRefresh, Pools: []string{"idp"}, ClientID: "client", RefreshToken: tokenstore.NewSecret("planted-rt"),
		AccessToken: tokenstore.NewSecret("planted-at"), ExpiresAt: time.Now().Add(time.Hour),
	}
	if edit != nil {
		edit(&r)
	}
	if _, err := b.CompareAndSwap(t.Context(), id, r, 0); err != nil {
		t.Fatal(err)
	}
}

func TestCheckOnlineSaysWhatItDidAndEndsByWhatItFound(t *testing.T) {
	ended := func(r *tokenstore.Record) {
		r.ExpiresAt, r.RefreshToken = time.Now().Add(-time.Hour), tokenstore.Secret{}
	}
	for name, c := range map[string]struct {
		status int
		setUp  func(t *testing.T, c *config.Config)
		code   int
		says   []string
	}{
		"all is well": {405, func(t *testing.T, c *config.Config) { add(t, c, "a", nil) }, 0, []string{
			"tokenward.db is open", "1, nothing is wrong", "journal can be written", "answers (405 to a question without a grant)",
		}},
		"no account": {405, nil, cli.ExitNeedsHuman, []string{"none: add one", "there is no account"}},
		"one of two needs a login": {405, func(t *testing.T, c *config.Config) { add(t, c, "a", nil); add(t, c, "b", ended) }, cli.ExitNeedsHuman, []string{
			"2, something is wrong with 1", "b", "expired: its access token has ended",
		}},
		"nobody can serve": {405, func(t *testing.T, c *config.Config) { add(t, c, "b", ended) }, cli.ExitNeedsHuman, []string{"no account can serve route all"}},
		"paused alone": {405, func(t *testing.T, c *config.Config) {
			add(t, c, "b", func(r *tokenstore.Record) { r.State = tokenstore.Paused })
		}, cli.ExitNeedsHuman, []string{"no account can serve route all"}},
		"another key": {405, func(t *testing.T, c *config.Config) {
			add(t, c, "a", nil)
			if err := os.Remove(c.Store.SQLite.KeyFile); err != nil {
				t.Fatal(err)
			}
			other := configured(t, 405)
			add(t, other, "x", nil)
			c.Store.SQLite.KeyFile = other.Store.SQLite.KeyFile
		}, cli.ExitNeedsHuman, []string{"1, something is wrong with 1", "config_error"}},
		"no such endpoint": {404, func(t *testing.T, c *config.Config) { add(t, c, "a", nil) }, cli.ExitFailed, []string{"answers 404", "correct token_url"}},
		"endpoint is down": {502, func(t *testing.T, c *config.Config) { add(t, c, "a", nil) }, cli.ExitNeedsHuman, []string{"answers 502"}},
		"no journal": {405, func(t *testing.T, c *config.Config) { add(t, c, "a", nil); c.Store.JournalDir = "/proc/nope" }, cli.ExitFailed, []string{
			"opening the journal",
		}},
		"everything at once": {404, func(_ *testing.T, c *config.Config) { c.Store.JournalDir = "/proc/nope" }, cli.ExitFailed, []string{"answers 404", "opening the journal"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configured(t, c.status)
			if c.setUp != nil {
				c.setUp(t, cfg)
			}
			var out strings.Builder
			err := checkOnline(t.Context(), cfg, &out)
			said := fmt.Sprint(out.String(), err)
			if got := cli.Code(err); got != c.code {
				t.Errorf("exit code %d, want %d: %s", got, c.code, said)
			}
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("%q is missing in:\n%s", want, said)
				}
			}
			if strings.Contains(said, "planted") {
				t.Errorf("a secret is shown:\n%s", said)
			}
		})
	}
}
