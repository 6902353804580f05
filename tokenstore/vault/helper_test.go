package vault_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// shared is the development server of all tests that do not break it; each has a mount of its own.
var shared = sync.OnceValues(vaultserver.StartDev)

var sharedUsed atomic.Bool

func TestMain(m *testing.M) {
	code := m.Run()
	if sharedUsed.Load() {
		if s, err := shared(); err == nil {
			_ = s.Stop()
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func server(t *testing.T) *vaultserver.Server {
	t.Helper()
	sharedUsed.Store(true)
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// own starts a server for one test.
func own(t *testing.T, start func() (*vaultserver.Server, error)) *vaultserver.Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	return s
}

var mounts atomic.Int64

// newMount mounts a fresh KV v2 and returns its name.
func newMount(t *testing.T, s *vaultserver.Server) string {
	t.Helper()
	name := fmt.Sprintf("kv%d", mounts.Add(1))
	must(
		t,
		s.Root.Sys().
			MountWithContext(t.Context(), name, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}),
	)
	eventually(t, "the mount is ready", func() error {
		_, err := s.Root.Logical().WriteWithContext(t.Context(), name+"/config", map[string]any{"max_versions": 30})
		return err
	})
	return name
}

// fixture is a server with a mount, and the configuration of a backend that logs in with a token in a file.
type fixture struct {
	*vaultserver.Server
	cfg vault.Config
}

// prepare makes a fixture on the shared server; the token has the given policies, none: it is the root's.
func prepare(t *testing.T, s *vaultserver.Server, policies ...string) fixture {
	t.Helper()
	token := s.Token
	if len(policies) > 0 {
		token = newToken(t, s, &api.TokenCreateRequest{Policies: policies})
	}
	return fixture{s, vault.Config{Config: access.Config{
		Address: s.Address, CAFile: s.CAFile, Mount: newMount(t, s), Prefix: "accounts", Poll: 50 * time.Millisecond,
		Auth: access.Auth{TokenFile: file(t, "token", token)},
	}}}
}

// usual is where the service looks unless it is told otherwise.
func usual(address string, auth access.Auth) vault.Config {
	return vault.Config{Config: access.Config{
		Address: address, Mount: "secret", Prefix: "tokenward/accounts", Poll: time.Minute, Auth: auth,
	}}
}

func newToken(t *testing.T, s *vaultserver.Server, r *api.TokenCreateRequest) string {
	t.Helper()
	secret, err := s.Root.Auth().Token().CreateWithContext(t.Context(), r)
	must(t, err)
	return secret.Auth.ClientToken
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(content+"\n"), 0o600))
	return path
}

// logs keeps what a backend logged; every test's logs are searched for the server's tokens when it ends.
type logs struct{ *observer.ObservedLogs }

func (l logs) text() string {
	var b strings.Builder
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, e := range l.All() {
		line, err := enc.EncodeEntry(e.Entry, e.Context)
		if err != nil {
			return err.Error()
		}
		b.WriteString(line.String())
	}
	return b.String()
}

func open(t *testing.T, cfg vault.Config) (*vault.Backend, logs) {
	t.Helper()
	core, seen := observer.New(zapcore.DebugLevel)
	b, err := vault.Open(t.Context(), cfg, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close()
		if text := (logs{seen}).text(); strings.Contains(text, "hvs.") || strings.Contains(text, "hvb.") {
			t.Errorf("a Vault token is in the log: %s", text)
		}
	})
	return b, logs{seen}
}

func (f fixture) path(kind string, id tokenstore.AccountID) string {
	return f.cfg.Mount + "/" + kind + "/" + f.cfg.Prefix + "/" + string(id)
}

// kv runs `vault kv` on an account: verb flags secret arguments.
func (f fixture) kv(t *testing.T, verb []string, id tokenstore.AccountID, args ...string) string {
	t.Helper()
	all := append(append([]string{"kv"}, verb...), "-mount="+f.cfg.Mount, f.cfg.Prefix+"/"+string(id))
	out, err := f.CLI(t.Context(), append(all, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sample(token string) tokenstore.Record {
	return tokenstore.Record{Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret(token)}
}

func put(
	t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, token string, expect tokenstore.Version,
) tokenstore.Version {
	t.Helper()
	v, err := b.CompareAndSwap(t.Context(), id, sample(token), expect)
	if err != nil {
		t.Fatalf("CompareAndSwap(%s, %d): %v", id, expect, err)
	}
	return v
}

func wantToken(t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, want string) {
	t.Helper()
	if r, _, err := b.Load(t.Context(), id); err != nil || r.RefreshToken.Reveal() != want {
		t.Errorf("%s holds %q (%v), want %q", id, r.RefreshToken.Reveal(), err, want)
	}
}

// wantWords checks that err says each of the words on one line and holds none of Vault's tokens.
func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error lacks %q: %v", w, err)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hvs.") {
		t.Errorf("the error has several lines or a token: %q", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.After(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// watch runs a Watch and returns what it reports.
func watch(t *testing.T, b tokenstore.Backend) <-chan tokenstore.AccountID {
	t.Helper()
	return watchLooking(t, b, func(error) {})
}

func watchLooking(t *testing.T, b tokenstore.Backend, looked func(error)) <-chan tokenstore.AccountID {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reports, done := make(chan tokenstore.AccountID, 1000), make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Watch(ctx, func(id tokenstore.AccountID) { reports <- id }, looked)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return reports
}

func wantReport(t *testing.T, reports <-chan tokenstore.AccountID, id tokenstore.AccountID, what string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-reports:
			if got == id {
				return
			}
		case <-deadline:
			t.Fatalf("%s of %s was not reported", what, id)
		}
	}
}
