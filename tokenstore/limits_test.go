package tokenstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func withLimits(rpm, concurrency int) func(*tokenstore.Record) {
	return func(r *tokenstore.Record) { r.Limits = tokenstore.Limits{RPM: rpm, Concurrency: concurrency} }
}

// edit changes a record as an operator would.
func (w *world) edit(id tokenstore.AccountID, change func(*tokenstore.Record)) {
	w.t.Helper()
	r, v, err := w.memory.Load(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	change(&r)
	if _, err := w.memory.CompareAndSwap(context.Background(), id, r, v); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// full asserts that the route's accounts are at their limits.
func (w *world) full(route string, retryAfter int) {
	w.t.Helper()
	if ref := w.noPick(route, "", tokenstore.ReasonAllCooling); ref.Status != 429 ||
		ref.RetryAfterSeconds() != retryAfter {
		w.t.Fatalf("status %d, retry after %d; want 429, %d", ref.Status, ref.RetryAfterSeconds(), retryAfter)
	}
}

func TestNoMoreAttemptsBeginInAnyMinuteThanTheRecordAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(3, 0)))
		for range 3 { // released at once: the rate counts what began
			w.pick("r", nil).Release()
			time.Sleep(10 * time.Second)
		}
		w.full("r", 30)
		time.Sleep(30*time.Second - time.Nanosecond)
		w.full("r", 1)
		time.Sleep(time.Nanosecond)
		w.pick("r", nil).Release() // the first is a minute old
		w.full("r", 10)
	})
}

func TestAnAttemptsPlaceIsFreeWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(0, 2)))
		first := w.pick("r", nil)
		w.pick("r", nil)
		w.full("r", 1)
		if st, err := w.Status("a"); err != nil || st.State != tokenstore.StateActive || !st.Routable ||
			st.Limits.Concurrency != 2 {
			t.Errorf("an account at its limit is %+v, %v", st, err)
		}
		first.Release()
		w.pick("r", nil)
		w.full("r", 1)
	})
}

func TestAnAccountAtItsLimitIsPassedOverForAnotherAndForTheNextUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(1, 0)), Account("b", withLimits(0, 1)), Account("c", inPool("spare"), withLimits(2, 0)))
		got := map[tokenstore.AccountID]int{}
		for range 4 {
			got[w.pick("two", nil).Account]++
		}
		if got["a"] != 1 || got["b"] != 1 || got["c"] != 2 {
			t.Errorf("four attempts went to %v", got)
		}
		w.full("two", 1) // b may be free at any time
	})
}

func TestRoundRobinHonoursLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", inPool("ring"), withLimits(1, 0)), Account("b", inPool("ring"), withLimits(2, 0)))
		for range 3 {
			w.pick("rr", nil).Release()
		}
		w.full("rr", 60)
	})
}

func TestAnExpiredAccountAtItsLimitIsNotRefreshedForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(1, 0)))
		w.pick("r", nil).Release()
		time.Sleep(30 * time.Second)
		w.edit("a", expired)
		w.full("r", 30)
		if n := w.driver.Calls(); n != 0 {
			t.Errorf("%d refreshes", n)
		}
		time.Sleep(30 * time.Second)
		w.pick("r", nil)
	})
}

func TestAnOperatorsEditOfLimitsTakesEffectAndWhatBeganStillCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		var under []tokenstore.Pick
		for range 5 {
			under = append(under, w.pick("r", nil))
		}
		w.edit("a", withLimits(0, 4)) // one less than are under way
		w.full("r", 1)
		under[0].Release()
		w.full("r", 1)
		under[1].Release()
		w.pick("r", nil)
		w.edit("a", withLimits(3, 0))
		for range 3 {
			time.Sleep(10 * time.Second)
			w.pick("r", nil)
		}
		w.full("r", 40)
		w.edit("a", withLimits(4, 0))
		w.pick("r", nil)
		w.full("r", 40)
		w.edit("a", withLimits(2, 0)) // the latest two count: 20 s and 30 s after the first
		w.full("r", 60)
		w.edit("a", withLimits(0, 0))
		w.pick("r", nil)
	})
}

func TestAChangeOfSomethingElseForgetsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(1, 0)))
		w.pick("r", nil)
		w.edit("a", func(r *tokenstore.Record) { r.Labels = map[string]string{"team": "x"} })
		w.full("r", 60)
	})
}

func TestARefreshedAccountIsTriedAgainInThePlaceOfTheAttemptThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(0, 1)))
		p := w.pick("r", nil)
		d := w.report(p, answer(401), nil)
		if d.Action != tokenstore.Retry {
			t.Fatalf("a refused token leads to %s", d.Action)
		}
		p.Release()
		if q := w.pick("r", d.Trail); q.Generation != p.Generation+1 {
			t.Errorf("generation %d after %d", q.Generation, p.Generation)
		}
	})
}

func TestARefusedTokenIsA429WhenOnlyLimitsAreInTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(1, 0)))
		d := w.report(w.pick("r", nil), answer(401), nil)
		if d.Action != tokenstore.Refuse || d.Refusal.Reason != tokenstore.ReasonAllCooling ||
			d.Refusal.RetryAfterSeconds() != 60 {
			t.Errorf("got %s %+v", d.Action, d.Refusal)
		}
		if n := w.driver.Calls(); n != 1 {
			t.Errorf("%d refreshes, want 1: the token was refused", n)
		}
		time.Sleep(time.Minute)
		w.pick("r", nil)
	})
}

func TestAProvidersRateLimitPassesVerbatimWhenTheOthersAreAtTheirLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(1, 0)), Account("b", withLimits(1, 0)))
		p := w.pick("r", nil)
		w.pick("r", nil)
		if d := w.report(p, limited(5), nil); d.Action != tokenstore.Pass {
			t.Errorf("got %s", d.Action)
		}
	})
}

func TestAnAccountWithLimitsThatCoolsIsWaitedForUntilItsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(5, 5)))
		w.report(w.pick("r", nil), limited(90), nil)
		w.full("r", 90)
	})
}

func TestLimitsThatWereWrittenAsTextAreStoredAsAnObjectWithAllTheirKeys(t *testing.T) {
	const stored = `{"provider":"p","type":"k","limits":"{\"rpm\":60,\"tpm\":{\"in\":9},\"concurrency\":0}"}`
	r, err := tokenstore.DecodeRecord([]byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	clone := r.Clone()
	clone.Limits.Extra["tpm"] = json.RawMessage(`0`)
	data, err := tokenstore.EncodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"limits":{"rpm":60,"tpm":{"in":9}},"provider":"p","type":"k"}`; string(data) != want {
		t.Errorf("stored %s, want %s", data, want)
	}
}

// The last place is never given twice, and no place is lost.
func TestConcurrentPicksNeverExceedTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", withLimits(0, 3)), Account("b", withLimits(500, 2)), Account("c", withLimits(700, 0)))
		most := map[tokenstore.AccountID]int64{"a": 3, "b": 2, "c": 1 << 40}
		under, began := map[tokenstore.AccountID]*atomic.Int64{}, map[tokenstore.AccountID]*atomic.Int64{}
		for id := range most {
			under[id], began[id] = &atomic.Int64{}, &atomic.Int64{}
		}
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				for range 2000 {
					p, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "r"})
					if err != nil {
						var ref *tokenstore.Refusal
						if !errors.As(err, &ref) || ref.Reason != tokenstore.ReasonAllCooling {
							t.Error(err)
						}
						continue
					}
					began[p.Account].Add(1)
					if n := under[p.Account].Add(1); n > most[p.Account] {
						t.Errorf("%d attempts of %s at once", n, p.Account)
					}
					under[p.Account].Add(-1)
					p.Release()
				}
			})
		}
		group.Wait()
		if b, c := began["b"].Load(), began["c"].Load(); b != 500 || c != 700 {
			t.Errorf("in one minute %d attempts of b and %d of c began; want 500 and 700", b, c)
		}
		for range 3 {
			if p := w.pick("r", nil); p.Account != "a" {
				t.Errorf("picked %s", p.Account)
			}
		}
		w.full("r", 1)
	})
}
