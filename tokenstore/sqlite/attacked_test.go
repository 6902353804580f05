package sqlite_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/journal"
	"github.com/tokenward/tokenward/tokenstore/sqlite"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// patience is how long a store may take to see what was done to its file; it looks four times a second.
const patience = 20 * time.Second

// service is the real store over the real file.
type service struct {
	*tokenstore.Store
	t      *testing.T
	driver *tokenstoretest.Driver
	stop   func()
}

func serve(t *testing.T, cfg sqlite.Config, d *tokenstoretest.Driver) *service {
	t.Helper()
	b, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(filepath.Join(filepath.Dir(cfg.Path), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := tokenstore.New(tokenstore.Config{
		Drivers:   map[string]tokenstore.Driver{"p": d},
		Pools:     map[string]tokenstore.PoolConfig{"p": {Provider: "p", Select: tokenstore.RoundRobin}},
		Upstreams: map[string]tokenstore.UpstreamConfig{"u": {Pool: "p", Cluster: "u"}},
		Routes: map[string]tokenstore.RouteConfig{
			"r": {Upstreams: []string{"u"}, Attempts: 2, RecoveryTimeout: time.Minute, RefreshWait: time.Second},
		},
		Renewal: tokenstore.RenewalConfig{
			Sweep: time.Hour, Workers: 1, TokenEndpointTimeout: 10 * time.Second, ClaimLease: time.Minute,
			BackoffMin: time.Second, BackoffMax: time.Minute,
		},
		Journal: j,
	}, b, tokenstore.NewMetrics(prometheus.NewRegistry(), "sqlite", true), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		_ = b.Close()
	})
	t.Cleanup(stop)
	return &service{s, t, d, stop}
}

// seeded is a store with three accounts, whose refresh tokens are rt-a, rt-b and rt-c.
func seeded(t *testing.T) sqlite.Config {
	t.Helper()
	cfg := configIn(t.TempDir())
	b := open(t, cfg)
	for _, id := range []string{"a", "b", "c"} {
		r := sample("rt-" + id)
		r.AccessToken, r.ObtainedAt, r.ExpiresAt = tokenstore.NewSecret("at-"+id), time.Now(), time.Now().Add(time.Hour)
		if _, err := b.CompareAndSwap(t.Context(), tokenstore.AccountID(id), r, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// becomes waits until an account has a state and returns its cause.
func (s *service) becomes(id tokenstore.AccountID, want tokenstore.AccountState) string {
	s.t.Helper()
	for end := time.After(patience); ; {
		st, err := s.Status(id)
		if err == nil && st.State == want {
			return st.Cause
		}
		select {
		case <-end:
			s.t.Fatalf("%s is %s (%s), %v; want %s", id, st.State, st.Cause, err, want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pickedOnly waits until picks get just these accounts, and each of them. Each is sent with a token of its own, always.
func (s *service) pickedOnly(accounts ...string) {
	s.t.Helper()
	for end := time.After(patience); ; {
		got := map[string]bool{}
		for range 30 {
			p, err := s.Pick(s.t.Context(), tokenstore.PickRequest{Route: "r"})
			if err != nil {
				s.t.Fatal(err)
			}
			if v := p.Headers[0].Value; v != "Bearer at-"+string(p.Account) {
				s.t.Fatalf("%s is sent with %q", p.Account, v)
			}
			got[string(p.Account)] = true
			p.Release()
		}
		serving := slices.Sorted(maps.Keys(got))
		if slices.Equal(serving, accounts) {
			return
		}
		select {
		case <-end:
			s.t.Fatalf("served by %v, want %v", serving, accounts)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Somebody has the file but not its key. What they do to some rows is refused with words, costs no other account
// anything, and is undone by putting the rows back.
func TestRowsThatSomebodyChangedAreRefusedAndNothingIsLost(t *testing.T) {
	const ofTheOther = "FROM kept WHERE kept.id = CASE accounts.id WHEN 'a' THEN 'b' ELSE 'a' END) WHERE id IN ('a', 'b')"
	const both = " WHERE id IN ('a', 'b')"
	const back = "REPLACE INTO accounts SELECT * FROM kept WHERE id IN ('a', 'b')"
	for name, statement := range map[string]string{
		"swapped":           "UPDATE accounts SET payload = (SELECT payload " + ofTheOther,
		"swapped whole":     "UPDATE accounts SET (version, payload) = (SELECT version, payload " + ofTheOther,
		"both the same":     "UPDATE accounts SET payload = (SELECT payload FROM kept WHERE id = 'c')" + both,
		"emptied":           "UPDATE accounts SET payload = x''" + both,
		"cut":               "UPDATE accounts SET payload = substr(payload, 1, length(payload) - 1)" + both,
		"made longer":       "UPDATE accounts SET payload = CAST(payload || x'00' AS BLOB)" + both,
		"without their key": "UPDATE accounts SET payload = CAST(x'0100000001' || substr(payload, 6) AS BLOB)" + both,
		"in clear":          `UPDATE accounts SET payload = CAST('{"provider":"p","type":"api_key","api_key":"evil"}' AS BLOB)` + both,
	} {
		for when, running := range map[string]bool{"while the service runs": true, "while it is down": false} {
			t.Run(name+", "+when, func(t *testing.T) {
				cfg := seeded(t)
				behind(t, cfg, "CREATE TABLE kept AS SELECT * FROM accounts")
				if !running {
					behind(t, cfg, statement)
				}
				s := serve(t, cfg, tokenstoretest.NewDriver())
				if running {
					s.pickedOnly("a", "b", "c")
					behind(t, cfg, statement)
					behind(t, cfg, "UPDATE accounts SET version = version + 100 WHERE id IN ('a', 'b')") // or nobody looks
				}
				for _, id := range []tokenstore.AccountID{"a", "b"} {
					if why := s.becomes(id, tokenstore.StateConfigError); !strings.Contains(why, "tampered with") {
						t.Errorf("%s: %s", id, why)
					}
				}
				s.pickedOnly("c")
				if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Failed {
					t.Errorf("refreshing what cannot be read: %+v, %v", res, err)
				}
				if n := s.driver.Calls(); n != 0 {
					t.Errorf("%d refresh tokens were presented", n)
				}
				behind(t, cfg, back)
				s.stop()
				s = serve(t, cfg, s.driver)
				s.pickedOnly("a", "b", "c")
			})
		}
	}
}

// The service does not look at a row whose version is the one that it knows, until it is about to spend the refresh
// token.
func TestARowThatIsChangedUnseenIsRefusedBeforeItsRefreshTokenIsSpent(t *testing.T) {
	cfg := seeded(t)
	s := serve(t, cfg, tokenstoretest.NewDriver())
	behind(t, cfg, "CREATE TABLE kept AS SELECT * FROM accounts")
	behind(t, cfg, "UPDATE accounts SET payload = (SELECT payload FROM kept WHERE id = 'c') WHERE id = 'a'")
	s.pickedOnly("a", "b", "c")
	res, err := s.RefreshAccount(t.Context(), "a", true)
	if err != nil || res.Outcome != tokenstore.Failed || !strings.Contains(res.Error, "tampered with") {
		t.Errorf("%+v, %v", res, err)
	}
	if n := s.driver.Calls(); n != 0 {
		t.Errorf("%d refresh tokens were presented", n)
	}
	behind(t, cfg, "REPLACE INTO accounts SELECT * FROM kept WHERE id = 'a'")
	s.stop()
	s = serve(t, cfg, s.driver)
	s.pickedOnly("a", "b", "c")
	if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
		t.Errorf("%+v, %v", res, err)
	}
}

// The right file with the key of another store: nothing is served, nothing written, and the right key finds all of it.
func TestWithTheKeyOfAnotherStoreNothingIsLost(t *testing.T) {
	cfg, other := seeded(t), seeded(t)
	s := serve(t, sqlite.Config{Path: cfg.Path, KeyFile: other.KeyFile}, tokenstoretest.NewDriver())
	for _, id := range []tokenstore.AccountID{"a", "b", "c"} {
		if why := s.becomes(id, tokenstore.StateConfigError); !strings.Contains(why, "key_file belongs to another store") {
			t.Errorf("%s: %s", id, why)
		}
	}
	if p, err := s.Pick(t.Context(), tokenstore.PickRequest{Route: "r"}); err == nil {
		t.Errorf("%s serves", p.Account)
	}
	s.stop()
	serve(t, cfg, s.driver).pickedOnly("a", "b", "c")
}

// An old row that comes back while the service runs holds a spent refresh token: what the service knows is newer, and
// is written again.
func TestARowThatIsRolledBackWhileTheServiceRunsIsPutRight(t *testing.T) {
	for name, refreshes := range map[string]int{"by one rotation": 1, "by three": 3} {
		t.Run(name, func(t *testing.T) {
			cfg := seeded(t)
			d := tokenstoretest.NewDriver()
			s := serve(t, cfg, d)
			behind(t, cfg, "CREATE TABLE kept AS SELECT * FROM accounts")
			for range refreshes {
				if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
					t.Fatalf("%+v, %v", res, err)
				}
			}
			b := open(t, cfg)
			newest := s.saved(b, "rt-a", false)
			behind(t, cfg, "REPLACE INTO accounts SELECT * FROM kept WHERE id = 'a'")
			if got := s.saved(b, newest, true); got != newest {
				t.Errorf("the row holds %s, want %s", got, newest)
			}
			s.stop()
			s = serve(t, cfg, d)
			if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
				t.Errorf("%+v, %v", res, err)
			}
			if n := d.MostSpent(); n != 1 {
				t.Errorf("a refresh token was presented %d times", n)
			}
		})
	}
}

// saved waits until the row of account a, without a claim, holds a refresh token or, with is false, another one.
func (s *service) saved(b tokenstore.Backend, token string, is bool) string {
	s.t.Helper()
	for end := time.After(patience); ; {
		r, _, err := b.Load(s.t.Context(), "a")
		if err == nil && r.Rotation.Claim == nil && (r.RefreshToken.Reveal() == token) == is {
			return r.RefreshToken.Reveal()
		}
		select {
		case <-end:
			s.t.Fatalf("the row still holds %s, %v", r.RefreshToken.Reveal(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
