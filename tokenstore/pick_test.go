package tokenstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestLeastLoadedSpreadsAttemptsEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"), Account("c"))
		got := map[tokenstore.AccountID]int{}
		for range 30 {
			got[w.pick("r", nil).Account]++
		}
		if got["a"] != 10 || got["b"] != 10 || got["c"] != 10 {
			t.Errorf("30 attempts under way are spread as %v", got)
		}
	})
}

func TestAReleasedAttemptNoLongerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		first, _ := w.pick("r", nil), w.pick("r", nil)
		first.Release()
		if p := w.pick("r", nil); p.Account != first.Account {
			t.Errorf("picked %s, the loaded one", p.Account)
		}
		tokenstore.Pick{}.Release()
	})
}

func TestRoundRobinTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", inPool("ring")), Account("b", inPool("ring")), Account("c", inPool("ring")))
		var turn []tokenstore.AccountID
		for range 9 {
			turn = append(turn, w.pick("rr", nil).Account)
		}
		for i := 3; i < len(turn); i++ {
			if turn[i] != turn[i-3] || turn[i] == turn[i-1] {
				t.Fatalf("turns %v", turn)
			}
		}
	})
}

func TestTenantsNeverMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("shared"), Account("acme-1", ofTenant("acme")), Account("acme-2", ofTenant("acme")),
			Account("globex", ofTenant("globex")))
		for tenant, allowed := range map[string]map[tokenstore.AccountID]bool{
			"": {"shared": true}, "acme": {"acme-1": true, "acme-2": true}, "globex": {"globex": true},
		} {
			for range 20 {
				p, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "r", Tenant: tenant})
				if err != nil || !allowed[p.Account] {
					t.Fatalf("tenant %q got %q, %v", tenant, p.Account, err)
				}
			}
		}
		w.noPick("r", "initech", tokenstore.ReasonTenantDenied)
	})
}

func TestACoolingAccountIsAvoidedUntilItsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		p := w.pick("r", nil)
		if d := w.report(p, limited(60), nil); d.Action != tokenstore.Retry {
			t.Fatalf("a rate limit leads to %s", d.Action)
		}
		for range 10 {
			if q := w.pick("r", nil); q.Account == p.Account {
				t.Fatal("picked the rate limited account")
			}
		}
		other := w.pick("r", nil)
		if d := w.report(other, limited(90), nil); d.Action != tokenstore.Pass {
			t.Errorf("with nobody left a rate limit leads to %s", d.Action)
		}
		if ref := w.noPick("r", "", tokenstore.ReasonAllCooling); ref.Status != 429 || ref.RetryAfterSeconds() != 60 {
			t.Errorf("status %d, retry after %d; want 429 and the earliest reset, 60", ref.Status, ref.RetryAfterSeconds())
		}
		time.Sleep(61 * time.Second)
		if q := w.pick("r", nil); q.Account != p.Account {
			t.Errorf("picked %s after the reset", q.Account)
		}
	})
}

// holder counts the pleas for patience.
type holder struct{ held atomic.Int32 }

func (h *holder) Hold(time.Duration) error { h.held.Add(1); return nil }

func TestPicksOfAnExpiredAccountShareOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error { time.Sleep(2 * time.Second); return nil }
		start := time.Now()
		h := &holder{}
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				p, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "r", Holder: h})
				if err != nil || p.Generation != 2 || p.Headers[0].Value != "Bearer at-1" {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
		group.Wait()
		if w.driver.Calls() != 1 || time.Since(start) != 2*time.Second || h.held.Load() != 50 {
			t.Errorf("%d refreshes in %v, %d of 50 held", w.driver.Calls(), time.Since(start), h.held.Load())
		}
	})
}

func TestAPickWaitsNoLongerThanTheRouteAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error { time.Sleep(25 * time.Second); return nil }
		start := time.Now()
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(16 * time.Second)
		if p := w.pick("r", nil); p.Generation != 2 {
			t.Errorf("the refresh that outlived its waiter left generation %d", p.Generation)
		}
	})
}

func TestALivingAccountIsPreferredToOneThatNeedsARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("asleep", expired), Account("awake"))
		for range 10 {
			if p := w.pick("r", nil); p.Account != "awake" {
				t.Fatalf("picked %s", p.Account)
			}
		}
		if w.driver.Calls() != 0 {
			t.Errorf("%d refreshes", w.driver.Calls())
		}
	})
}

func TestAnUnknownRouteIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if ref := newStore(t, Account("a")).noPick("nowhere", "", tokenstore.ReasonUnknownRoute); ref.Status != 503 ||
			len(ref.Body) == 0 {
			t.Errorf("status %d, body %q", ref.Status, ref.Body)
		}
	})
}

func TestTheNextUpstreamServesWhenTheFirstHasNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b", inPool("spare")))
		p := w.pick("two", nil)
		if p.Upstream != "main" || p.Cluster != "c-main" {
			t.Fatalf("first at %s", p.Upstream)
		}
		d := w.report(p, limited(60), nil)
		if q := w.pick("two", d.Trail); q.Upstream != "spare" || q.Account != "b" || q.Cluster != "c-spare" {
			t.Errorf("then at %s with %s", q.Upstream, q.Account)
		}
	})
}

func TestAnUnreachableUpstreamComesLastForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b", inPool("spare")))
		p := w.pick("two", nil)
		d := w.report(p, tokenstore.Response{Status: 503, Local: true, NotSent: true}, nil)
		if d.Action != tokenstore.Retry {
			t.Fatalf("unreachable leads to %s", d.Action)
		}
		if q := w.pick("two", d.Trail); q.Upstream != "spare" {
			t.Errorf("the same request goes to %s", q.Upstream)
		}
		if q := w.pick("two", nil); q.Upstream != "spare" {
			t.Errorf("another request goes to %s", q.Upstream)
		}
		time.Sleep(1100 * time.Millisecond)
		if q := w.pick("two", nil); q.Upstream != "main" {
			t.Errorf("after the pause a request goes to %s", q.Upstream)
		}
	})
}
