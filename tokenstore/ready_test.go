package tokenstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// newStoreWithIdlePool is newStore with a pool that no upstream uses.
func newStoreWithIdlePool(t *testing.T, accounts ...given) *world {
	t.Helper()
	m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
	put(t, m, accounts...)
	return open(t, m, m, d, func(c *tokenstore.Config) { c.Pools["idle"] = tokenstore.PoolConfig{Provider: "p"} })
}

func refusedForGood(context.Context, tokenstore.Record) error {
	return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
}

func TestAServiceThatNoAccountCanServeIsNotReadyBeforeOneCould(t *testing.T) {
	dead := func(r *tokenstore.Record) {
		expired(r)
		r.RefreshToken = tokenstore.Secret{}
	}
	for name, c := range map[string]struct {
		accounts func() []given
		why      string // "": ready
	}{
		"none":                    {func() []given { return nil }, "there is no account: add one"},
		"one that serves":         {func() []given { return []given{Account("a")} }, ""},
		"one of many":             {func() []given { return []given{Account("a", dead), Account("b")} }, ""},
		"nothing to refresh with": {func() []given { return []given{Account("a", dead)} }, "none of 1 accounts can serve now (1 expired)"},
		"not refreshed yet":       {func() []given { return []given{Account("a", expired)} }, "none of 1 accounts can serve now"},
		"paused": {func() []given {
			return []given{Account("a", func(r *tokenstore.Record) { r.State = tokenstore.Paused })}
		}, "(1 paused)"},
		"of a provider nobody has":      {func() []given { return []given{Account("a", func(r *tokenstore.Record) { r.Provider = "x" })} }, "(1 config_error)"},
		"in a pool that no route takes": {func() []given { return []given{Account("a", inPool("idle"))} }, "none of 1 accounts can serve now"},
		"of two kinds": {func() []given {
			return []given{Account("a", dead), Account("b", func(r *tokenstore.Record) { r.State = tokenstore.Paused })}
		}, "(1 expired, 1 paused)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStoreWithIdlePool(t, c.accounts()...)
				why := strings.Join(w.NotReady(), "; ")
				if (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
					t.Errorf("not ready: %q, want %q", why, c.why)
				}
				if degraded := w.Degraded(); c.why == "" && len(degraded) != 0 {
					t.Errorf("degraded: %q", degraded)
				}
			})
		})
	}
}

func TestAServiceIsReadyOnceItsFirstRefreshWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		if len(w.NotReady()) != 1 {
			t.Error("ready before its first token")
		}
		w.renew()
		synctest.Wait()
		if why := w.NotReady(); len(why) != 0 {
			t.Errorf("not ready: %q", why)
		}
	})
}

// All replicas lose an account at the same time: taken out of service together they could not even tell the clients.
func TestAServiceThatHasServedStaysInServiceAndSaysWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.pick("r", nil).Release() // nobody has asked for readiness so far
		w.driver.OnRefresh = refusedForGood
		w.force("a", tokenstore.Failed)
		time.Sleep(2 * time.Hour)
		if why := w.NotReady(); len(why) != 0 {
			t.Errorf("not ready: %q", why)
		}
		if why := strings.Join(w.Degraded(), ";"); !strings.Contains(
			why,
			"none of 1 accounts can serve now (1 needs_reauth)",
		) {
			t.Errorf("degraded: %q", why)
		}
	})
}

func TestCountersAreThereBeforeTheirFirstEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		w.pick("r", nil).Release()
		families, err := w.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				labels := []string{}
				for _, l := range m.GetLabel() {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
				have[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue()
			}
		}
		for _, want := range []string{
			"tokenward_refreshes_total{class=refused_permanent,provider=p,result=failed,trigger=schedule}",
			"tokenward_refreshes_total{class=,provider=p,result=refreshed,trigger=response}",
			"tokenward_account_failovers_total{account=a}", "tokenward_account_failovers_total{account=b}", "tokenward_request_faults_total{route=two}",
		} {
			if n, ok := have[want]; !ok || n != 0 {
				t.Errorf("%s: there %v, is %v", want, ok, n)
			}
		}
		if sum := have["tokenward_account_attempts_total{account=a}"] + have["tokenward_account_attempts_total{account=b}"]; sum != 1 {
			t.Errorf("attempts of both accounts: %v in %s", sum, fmt.Sprint(have))
		}
	})
}

func TestWithoutAccountLabelsNoMetricNamesAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d, reg := tokenstoretest.NewMemory(), tokenstoretest.NewDriver(), prometheus.NewRegistry()
		put(t, m, Account("planted-a"), Account("planted-b"))
		s, err := tokenstore.New(testConfig(d), m, tokenstore.NewMetrics(reg, "memory", false), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := &world{Store: s, t: t, memory: m, driver: d, reg: reg}
		moved := w.report(w.pick("r", nil), answer(429), nil)
		w.pick("r", moved.Trail)
		if n := w.metric("failovers_total"); n != 1 {
			t.Errorf("%v failovers", n)
		}
		families, err := reg.Gather()
		if err != nil || strings.Contains(fmt.Sprint(families), "planted") {
			t.Errorf("an account is named: %v %v", err, families)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
