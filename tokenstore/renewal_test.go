package tokenstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestTokensAreRenewedBeforeTheyExpireAllDayLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"), Account("c"))
		w.renew()
		for range 24 * 60 {
			time.Sleep(time.Minute)
			for _, st := range w.Statuses() {
				if left := time.Until(st.ExpiresAt); left < 19*time.Minute {
					t.Fatalf("%s has %v left and is not renewed", st.ID, left)
				}
			}
		}
		// An hour less a third of it, less up to a fifth of that third: every 36 to 40 minutes.
		if n := w.driver.Calls(); n < 3*35 || n > 3*40 || w.driver.MostSpent() != 1 {
			t.Errorf("%d renewals of 3 accounts in a day, one token spent %d times", n, w.driver.MostSpent())
		}
	})
}

func TestTheInstantOfRenewalIsDrawnOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.renew()
		due := w.status("a").NextRefresh
		for range 6 {
			time.Sleep(5 * time.Minute)
			if now := w.status("a").NextRefresh; !now.Equal(due) {
				t.Fatalf("moved from %v to %v", due, now)
			}
		}
	})
}

// deaf is a backend whose watch tells nothing.
type deaf struct{ *tokenstoretest.Memory }

func (deaf) Watch(ctx context.Context, _ func(tokenstore.AccountID), _ func(error)) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestTheSweepCatchesAChangeThatTheWatchMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		w := open(t, deaf{m}, m, d)
		w.renew()
		time.Sleep(2 * time.Second)
		edit(t, m, "a", func(r *tokenstore.Record) { r.State = tokenstore.Paused })
		put(t, m, Account("b"))
		time.Sleep(5*time.Minute + time.Second)
		if st := w.status("a"); st.State != tokenstore.StatePaused {
			t.Errorf("the paused account is %s", st.State)
		}
		if p := w.pick("r", nil); p.Account != "b" {
			t.Errorf("picked %s", p.Account)
		}
	})
}

func TestNoMoreRenewalsRunAtOnceThanThereAreWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var accounts []given
		for i := range 20 {
			accounts = append(accounts, Account(fmt.Sprint("a", i), expired))
		}
		w := newStore(t, accounts...)
		var running, most atomic.Int32
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			return nil
		}
		w.renew()
		time.Sleep(5500 * time.Millisecond)
		if most.Load() != 4 || w.driver.Calls() != 20 {
			t.Errorf("%d at once, %d in all; want 4 and 20", most.Load(), w.driver.Calls())
		}
	})
}

func TestAFailingAccountIsTriedAgainLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient, Status: 503}
		}
		w.renew()
		time.Sleep(time.Hour)
		if n := w.driver.Calls(); n < 12 || n > 120 {
			t.Errorf("%d tries in an hour", n)
		}
	})
}

func TestAnAccountDeletedDuringItsRefreshIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.driver.OnRefresh = func(ctx context.Context, _ tokenstore.Record) error {
			_, v, err := w.memory.Load(ctx, "a")
			if err == nil {
				err = w.memory.Delete(ctx, "a", v)
			}
			if err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient}
		}
		w.renew()
		time.Sleep(time.Hour)
		if _, err := w.Status("a"); err == nil || w.driver.Calls() != 1 {
			t.Errorf("status error %v, %d grants", err, w.driver.Calls())
		}
	})
}

func TestATokenThatIsRefusedThoughFreshIsTrustedAgainAfterAMinuteAndNotRefreshedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.renew()
		d := w.report(w.pick("r", nil), answer(401), nil)
		q := w.pick("r", d.Trail)
		synctest.Wait()
		w.report(q, answer(401), d.Trail)
		if st := w.status("a"); st.State != tokenstore.StateActive || st.Reason == "" {
			t.Errorf("one request makes it %s (%s)", st.State, st.Reason)
		}
		time.Sleep(61 * time.Second)
		if st := w.status("a"); st.State != tokenstore.StateActive || st.Reason != "" || w.driver.Calls() != 1 {
			t.Errorf("after a minute it is %s (%s), %d refreshes", st.State, st.Reason, w.driver.Calls())
		}
	})
}
