package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adminToken  = "planted-admin-token-0123456789"
	refreshPath = "/api/admin/oauth/refresh"
)

// asked is one call of RefreshAccount.
type asked struct {
	id    tokenstore.AccountID
	force bool
}

// fakeTokens is a scripted domain. Without a script every known account is refreshed at once.
type fakeTokens struct {
	script func(ctx context.Context, id tokenstore.AccountID, force bool) (tokenstore.RefreshResult, error)

	mu       sync.Mutex // guards what follows
	accounts []tokenstore.AccountStatus
	reasons  []string
	degraded []string
	calls    []asked
}

func (f *fakeTokens) Statuses() []tokenstore.AccountStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]tokenstore.AccountStatus(nil), f.accounts...)
}

func (f *fakeTokens) NotReady() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reasons
}

func (f *fakeTokens) asked() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]asked(nil), f.calls...)
}

func (f *fakeTokens) RefreshAccount(
	ctx context.Context, id tokenstore.AccountID, force bool,
) (tokenstore.RefreshResult, error) {
	f.mu.Lock()
	f.calls = append(f.calls, asked{id, force})
	script := f.script
	f.mu.Unlock()
	if script != nil {
		return script(ctx, id, force)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.accounts {
		a := &f.accounts[i]
		if a.ID != id {
			continue
		}
		if a.State == tokenstore.StatePaused {
			return tokenstore.RefreshResult{}, fmt.Errorf("%w: %s", tokenstore.ErrPaused, id)
		}
		before := a.Generation
		a.Generation++
		a.State, a.Reason, a.Routable, a.ExpiresAt = tokenstore.StateActive, "", true, time.Now().Add(8*time.Hour)
		a.Last = &tokenstore.Outcome{At: time.Now(), Trigger: tokenstore.TriggerOperator, Result: "succeeded"}
		return tokenstore.RefreshResult{
			ID: id, Outcome: tokenstore.Refreshed, GenerationBefore: before, GenerationAfter: a.Generation,
			ExpiresAt: a.ExpiresAt, Duration: 120 * time.Millisecond,
		}, nil
	}
	return tokenstore.RefreshResult{}, fmt.Errorf("%w: %s", tokenstore.ErrUnknownAccount, id)
}

// accountsNamed are active accounts without a past.
func accountsNamed(ids ...string) []tokenstore.AccountStatus {
	var out []tokenstore.AccountStatus
	for _, id := range ids {
		out = append(out, tokenstore.AccountStatus{
			ID:          tokenstore.AccountID(id),
			Provider:    "anthropic",
			Kind:        "ANTHROPIC_OAUTH",
			Pools:       []string{"claude"},
			State:       tokenstore.StateActive,
			Routable:    true,
			Refreshable: true,
			ExpiresAt:   time.Now().Add(time.Hour),
			Generation:  3,
			Version:     7,
		})
	}
	return out
}

// server is an admin server over f that is not listening: handlers are called directly.
func server(t *testing.T, f Tokens, edits ...func(*Config)) *Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "admin.token")
	if err := os.WriteFile(file, []byte(adminToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Listen: "127.0.0.1:0", TokenFile: file}
	for _, edit := range edits {
		edit(&cfg)
	}
	s, err := New(cfg, f, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// send calls the handler as an operator's tool would; edits change the request before it goes.
func send(s *Server, method, target, body string, edits ...func(*http.Request)) answer {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8980"
	r.Header.Set("Authorization", "Bearer "+adminToken)
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return answer{w.Code, w.Result().Header, w.Body.String()}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func without(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// decode reads an answer strictly: a field that v does not have is a failure.
func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("answer %d %q: %v", a.status, a.body, err)
	}
	return v
}

// wantProblem checks that the answer is a problem of a kind and returns it.
func wantProblem(t *testing.T, a answer, status int, kind string) api.Problem {
	t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %d %s %s, want problem %d", a.status, a.header.Get("Content-Type"), a.body, status)
	}
	p := decode[api.Problem](t, a)
	if p.Type != "urn:tokenward:"+kind || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Fatalf("got problem %+v, want kind %s", p, kind)
	}
	return p
}

func (f *fakeTokens) Degraded() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.degraded
}
