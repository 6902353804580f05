package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a started store with its fakes.
type world struct {
	*tokenstore.Store
	t      testing.TB
	memory *tokenstoretest.Memory
	driver *tokenstoretest.Driver
	reg    *prometheus.Registry
	stop   func()
}

// given is a record to start with.
type given struct {
	id     tokenstore.AccountID
	record tokenstore.Record
}

// account is a record whose token has just begun an hour's life.
func Account(id string, edits ...func(*tokenstore.Record)) given {
	now := time.Now().UTC()
	r := tokenstore.Record{
		Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret("rt-of-" + id),
		AccessToken: tokenstore.NewSecret("at-of-" + id), ObtainedAt: now, ExpiresAt: now.Add(time.Hour),
	}
	for _, edit := range edits {
		edit(&r)
	}
	return given{tokenstore.AccountID(id), r}
}

func expired(r *tokenstore.Record) {
	r.ObtainedAt, r.ExpiresAt = r.ObtainedAt.Add(-2*time.Hour), r.ExpiresAt.Add(-2*time.Hour)
}

func ofTenant(name string) func(*tokenstore.Record) {
	return func(r *tokenstore.Record) { r.Tenant = name }
}

func inPool(name string) func(*tokenstore.Record) {
	return func(r *tokenstore.Record) { r.Pools = []string{name} }
}

func testConfig(d tokenstore.Driver) tokenstore.Config {
	route := func(attempts int, pass bool, upstreams ...string) tokenstore.RouteConfig {
		return tokenstore.RouteConfig{
			Upstreams: upstreams, Attempts: attempts, FailOverRateLimit: true, FailOverOverload: true, PassAuthFailure: pass,
			RecoveryTimeout: 30 * time.Second, RefreshWait: 10 * time.Second,
		}
	}
	still := route(4, false, "main")
	still.FailOverRateLimit, still.FailOverOverload = false, false
	return tokenstore.Config{
		Routes: map[string]tokenstore.RouteConfig{
			"r": route(4, false, "main"), "once": route(1, false, "main"), "pass": route(1, true, "main"),
			"rr": route(4, false, "ring"), "two": route(4, false, "main", "spare"), "still": still,
		},
		Upstreams: map[string]tokenstore.UpstreamConfig{
			"main":  {Pool: "p", Cluster: "c-main"},
			"ring":  {Pool: "ring", Cluster: "c-ring"},
			"spare": {Pool: "spare", Cluster: "c-spare"},
		},
		Pools: map[string]tokenstore.PoolConfig{
			"p": {Provider: "p", Select: tokenstore.LeastLoaded}, "ring": {Provider: "p", Select: tokenstore.RoundRobin},
			"spare": {Provider: "p", Select: tokenstore.LeastLoaded},
		},
		Drivers: map[string]tokenstore.Driver{"p": d},
		Renewal: tokenstore.RenewalConfig{
			Sweep: 5 * time.Minute, Workers: 4, TokenEndpointTimeout: 30 * time.Second, ClaimLease: 40 * time.Second,
			BackoffMin: time.Second, BackoffMax: 5 * time.Minute,
		},
	}
}

// put writes records as an operator would.
func put(t testing.TB, m *tokenstoretest.Memory, accounts ...given) {
	t.Helper()
	for _, a := range accounts {
		if _, err := m.CompareAndSwap(context.Background(), a.id, a.record, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// open starts a store over a backend, which may be shared.
func open(
	t testing.TB, b tokenstore.Backend, m *tokenstoretest.Memory, d *tokenstoretest.Driver,
	edits ...func(*tokenstore.Config),
) *world {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg := testConfig(d)
	for _, edit := range edits {
		edit(&cfg)
	}
	s, err := tokenstore.New(cfg, b, tokenstore.NewMetrics(reg, "memory", true), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	w := &world{Store: s, t: t, memory: m, driver: d, reg: reg}
	stopped := false
	w.stop = func() {
		if !stopped {
			stopped = true
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(w.stop)
	if _, bubble := t.(*testing.T); bubble {
		synctest.Wait() // it watches the backend, and the pools are built
	}
	return w
}

// newStore starts a store over these accounts.
func newStore(t testing.TB, accounts ...given) *world {
	t.Helper()
	m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
	put(t, m, accounts...)
	return open(t, m, m, d)
}

// renew starts the background renewal.
func (w *world) renew() {
	w.t.Helper()
	r := w.Renewer()
	if err := r.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
}

// pick picks and keeps the load until the test ends.
func (w *world) pick(route string, trail *tokenstore.Trail) tokenstore.Pick {
	w.t.Helper()
	p, err := w.Pick(context.Background(), tokenstore.PickRequest{Route: route, Trail: trail})
	if err != nil {
		w.t.Fatalf("pick on %s: %v", route, err)
	}
	return p
}

func (w *world) noPick(route, tenant string, reason tokenstore.Reason) *tokenstore.Refusal {
	w.t.Helper()
	p, err := w.Pick(context.Background(), tokenstore.PickRequest{Route: route, Tenant: tenant})
	var ref *tokenstore.Refusal
	if !errors.As(err, &ref) || ref.Reason != reason {
		w.t.Fatalf("picked %q, error %v; want the refusal %s", p.Account, err, reason)
	}
	return ref
}

func answer(status int) tokenstore.Response {
	return tokenstore.Response{Status: status, Header: http.Header{}}
}

func limited(seconds int) tokenstore.Response {
	return tokenstore.Response{Status: 429, Header: http.Header{"Retry-After": {fmt.Sprint(seconds)}}}
}

func (w *world) report(p tokenstore.Pick, resp tokenstore.Response, trail *tokenstore.Trail) tokenstore.Decision {
	w.t.Helper()
	d, err := w.Report(context.Background(), p, resp, trail, nil)
	if err != nil {
		w.t.Fatalf("report: %v", err)
	}
	return d
}

func (w *world) status(id tokenstore.AccountID) tokenstore.AccountStatus {
	w.t.Helper()
	st, err := w.Status(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) stored(id tokenstore.AccountID) tokenstore.Record {
	w.t.Helper()
	r, _, err := w.memory.Load(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// edit changes a stored record as an operator would.
func edit(t testing.TB, m *tokenstoretest.Memory, id tokenstore.AccountID, change func(*tokenstore.Record)) {
	t.Helper()
	r, v, err := m.Load(context.Background(), id)
	if err != nil {
		t.Error(err)
		return
	}
	change(&r)
	if _, err := m.CompareAndSwap(context.Background(), id, r, v); err != nil {
		t.Error(err)
	}
}

// metric is the sum of an unlabelled metric.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tokenward_"+name {
			sum := 0.0 // over its labels
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
			return sum
		}
	}
	w.t.Fatalf("no metric %s", name)
	return 0
}

// force refreshes as an operator would and wants this outcome.
func (w *world) force(id tokenstore.AccountID, want tokenstore.RefreshOutcome) tokenstore.RefreshResult {
	w.t.Helper()
	res, err := w.RefreshAccount(context.Background(), id, true)
	if err != nil || res.Outcome != want {
		w.t.Fatalf("refresh of %s: %+v, %v; want %s", id, res, err, want)
	}
	synctest.Wait()
	return res
}

func TestAnUnreadableRecordStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("good"), Account("bad"))
		w.memory.Corrupt("bad")
		time.Sleep(time.Second)
		if st := w.status("bad"); st.State != tokenstore.StateConfigError || st.Routable {
			t.Errorf("the unreadable account is %s, routable %t", st.State, st.Routable)
		}
		for range 10 {
			if p := w.pick("r", nil); p.Account != "good" {
				t.Fatalf("picked %s", p.Account)
			}
		}
	})
}

func TestAnAccountAddedOrRemovedWhileRunningIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t)
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		put(t, w.memory, Account("late"))
		time.Sleep(time.Second)
		if p := w.pick("r", nil); p.Account != "late" {
			t.Fatalf("picked %s", p.Account)
		}
		_, v, _ := w.memory.Load(t.Context(), "late")
		if err := w.memory.Delete(t.Context(), "late", v); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
	})
}

func TestAStoreThatIsNotStartedRefusesPicks(t *testing.T) {
	d := tokenstoretest.NewDriver()
	s, err := tokenstore.New(testConfig(d), tokenstoretest.NewMemory(), tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Pick(t.Context(), tokenstore.PickRequest{Route: "r"})
	var ref *tokenstore.Refusal
	if !errors.As(err, &ref) || ref.Reason != tokenstore.ReasonStoreUnavailable || len(s.NotReady()) == 0 {
		t.Errorf("%v; not ready: %v", err, s.NotReady())
	}
}

func TestARecordThatCouldNotBeReadServesAgainOnceItIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := Account("a")
		w := newStore(t, given)
		w.memory.Corrupt("a")
		synctest.Wait()
		time.Sleep(time.Second)
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		_, v, _ := w.memory.Load(t.Context(), "a")
		if _, err := w.memory.CompareAndSwap(t.Context(), "a", given.record, v); err != nil { // just as it was
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		w.pick("r", nil)
	})
}
