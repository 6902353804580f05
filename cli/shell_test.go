package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// planted begins every secret that a test puts in; nothing that begins so may be printed.
const planted = "planted-"

// shell runs commands against a store in memory and a scripted provider.
type shell struct {
	*tokenstoretest.Memory
	driver  *tokenstoretest.Driver
	session *Session
	folder  string
	closed  int // times the backend was closed
}

// Close implements tokenstore.Backend.
func (s *shell) Close() error {
	s.closed++
	return nil
}

func newShell(t *testing.T) *shell {
	t.Helper()
	s := &shell{Memory: tokenstoretest.NewMemory(), driver: tokenstoretest.NewDriver(), folder: t.TempDir()}
	pools := map[string]tokenstore.PoolConfig{"p": {Provider: "p"}, "spare": {Provider: "p"}, "other": {Provider: "q"}}
	drivers := map[string]tokenstore.Driver{"p": s.driver, "q": tokenstoretest.NewDriver()}
	s.session = &Session{
		Backend: s, Drivers: drivers, Pools: pools,
		Domain: func() (*tokenstore.Store, error) {
			c := tokenstore.Config{Drivers: drivers, Pools: pools, Renewal: tokenstore.RenewalConfig{
				Sweep:                time.Hour,
				Workers:              1,
				TokenEndpointTimeout: time.Second,
				ClaimLease:           2 * time.Second,
				BackoffMin:           time.Second,
				BackoffMax:           time.Minute,
			}}
			return tokenstore.New(c, s, tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", false), zap.NewNop())
		},
	}
	return s
}

// result is what a command said and how it ended.
type result struct {
	out, err string
	code     int
}

// run runs a command line. No secret may be printed, and what was opened must be closed, whatever the command is.
func (s *shell) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return s.runIn(t.Context(), t, stdin, args...)
}

func (s *shell) runIn(ctx context.Context, t *testing.T, stdin string, args ...string) result {
	t.Helper()
	opened := 0
	root := &cobra.Command{Use: "tokenward", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(func(_ context.Context, file string, withStore bool) (*Session, error) {
		if withStore {
			opened++
		}
		if file != "there.yaml" {
			t.Errorf("configuration file: %q", file)
		}
		return s.session, nil
	})...)
	var out, errOut bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errOut)
	root.SetArgs(append(args, "-c", "there.yaml"))
	s.closed = 0
	err := root.ExecuteContext(ctx)
	if s.closed != opened {
		t.Errorf("opened %d times, closed %d times", opened, s.closed)
	}
	r := result{out: out.String(), err: errOut.String(), code: Code(err)}
	if err != nil {
		r.err += err.Error()
	}
	for _, secret := range []string{planted, "rt-1", "at-1"} { // the last two are the scripted provider's
		if strings.Contains(r.out+r.err, secret) {
			t.Errorf("%v printed a secret: %s%s", args, r.out, r.err)
		}
	}
	return r
}

// good runs a command line that must succeed.
func (s *shell) good(t *testing.T, args ...string) string {
	t.Helper()
	r := s.run(t, "", args...)
	if r.code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, r.code, r.err)
	}
	return r.out
}

// file writes a file and returns its path.
func (s *shell) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(s.folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// put stores a record as another program would.
func (s *shell) put(t *testing.T, id tokenstore.AccountID, r tokenstore.Record) tokenstore.Version {
	t.Helper()
	_, v, _ := s.Memory.Load(t.Context(), id) // 0 when it is new
	v, err := s.Memory.CompareAndSwap(t.Context(), id, r, v)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (s *shell) record(t *testing.T, id tokenstore.AccountID) tokenstore.Record {
	t.Helper()
	r, _, err := s.Memory.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *shell) count(t *testing.T) int {
	t.Helper()
	heads, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(heads)
}

// living is a record whose token lives for another hour.
func living() tokenstore.Record {
	now := time.Now().UTC().Truncate(time.Second)
	return tokenstore.Record{
		Provider:     "p",
		Kind:         tokenstore.KindOAuthRefresh,
		Pools:        []string{"spare"},
		Tenant:       "acme",
		ClientID:     "client",
		Labels:       map[string]string{"team": "a"},
		RefreshToken: tokenstore.NewSecret(planted + "refresh"),
		AccessToken:  tokenstore.NewSecret(planted + "access"),
		ObtainedAt:   now.Add(-time.Minute),
		ExpiresAt:    now.Add(time.Hour),
		Rotation:     tokenstore.Rotation{Incarnation: "first", Generation: 7},
	}
}

// expired is a record whose token has ended.
func expired() tokenstore.Record {
	r := living()
	r.ObtainedAt, r.ExpiresAt = r.ObtainedAt.Add(-2*time.Hour), r.ExpiresAt.Add(-2*time.Hour)
	return r
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func has(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}
