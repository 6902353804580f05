package tokenstore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestAClaimOfOursThatSpentNothingAndCouldNotBeClearedDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		var down atomic.Bool
		m.Before = func(string, tokenstore.AccountID) error {
			if down.Load() {
				return errDown
			}
			return nil
		}
		w := open(t, m, m, d)
		w.renew()
		d.OnRefresh = func(context.Context, tokenstore.Record) error {
			down.Store(true)
			return &tokenstore.RefreshError{Class: tokenstore.RefreshNotSent}
		}
		w.force("a", tokenstore.Failed)
		down.Store(false)
		d.OnRefresh = nil
		if w.stored("a").Rotation.Claim == nil {
			t.Fatal("the claim was cleared; the test proves nothing")
		}
		time.Sleep(45 * time.Minute) // past the renewal, long before the token's end
		if r := w.stored("a"); d.Calls() != 2 || r.Rotation.Claim != nil || r.RefreshToken.Reveal() != "rt-1" {
			t.Errorf("%d grants, claim %+v", d.Calls(), r.Rotation.Claim)
		}
	})
}

func TestAnEditDuringAFailingRefreshIsKeptAndTheClaimTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			edit(t, w.memory, "a", func(r *tokenstore.Record) { r.Labels = map[string]string{"team": "x"} })
			return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient, Status: 503}
		}
		w.force("a", tokenstore.Failed)
		if r := w.stored("a"); r.Labels["team"] != "x" || r.Rotation.Claim != nil || r.Rotation.Last == nil ||
			r.Rotation.Last.Status != 503 {
			t.Errorf("stored %v %+v", r.Labels, r.Rotation)
		}
	})
}

func TestWithGraceALostAnswerIsTriedAgainWhileThePredecessorIsAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		outage time.Duration
		early  int
	}{"inside the window": {0, 2}, "after the window": {2 * time.Minute, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
				d.Policy, d.Grace = tokenstore.ReplayGrace, time.Minute
				put(t, m, Account("a"))
				w := open(t, m, m, d)
				lost := true
				d.OnRefresh = func(context.Context, tokenstore.Record) error {
					if lost {
						lost = false
						return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
					}
					return nil
				}
				w.force("a", tokenstore.Failed)
				time.Sleep(c.outage)
				w.renew()
				time.Sleep(20 * time.Minute)
				if d.Calls() != c.early {
					t.Errorf("%d grants while the token lives, want %d", d.Calls(), c.early)
				}
				time.Sleep(45 * time.Minute)
				if st := w.status("a"); st.State != tokenstore.StateActive {
					t.Errorf("in the end it is %s: %s", st.State, st.Reason)
				}
			})
		})
	}
}

// Vault's versions begin at 1 again when a record is deleted, metadata and all, and made anew.
func TestARecordMadeAnewUnderALowerVersionIsAdoptedAndRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		m.Restarting = true
		put(t, m, Account("a"))
		w := open(t, m, m, d)
		for range 3 {
			w.force("a", tokenstore.Refreshed)
		}
		r, v, _ := m.Load(t.Context(), "a")
		if err := m.Delete(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		r.RefreshToken, r.Tenant = tokenstore.NewSecret("anew"), "acme"
		put(t, m, given{"a", r}) // the same incarnation: somebody pasted a backup
		time.Sleep(time.Second)
		if st := w.status("a"); st.Tenant != "acme" || st.Version != 1 {
			t.Fatalf("in memory: tenant %q, version %d", st.Tenant, st.Version)
		}
		w.force("a", tokenstore.Refreshed)
		if st := w.status("a"); st.Version != 3 || w.stored("a").RefreshToken.Reveal() != "rt-4" {
			t.Errorf("after a refresh version %d", st.Version)
		}
	})
}

func TestAStoreThatWaitsForItsBackendBecomesReadyWhenItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		var up atomic.Bool
		m.Before = func(string, tokenstore.AccountID) error {
			if !up.Load() {
				return errDown
			}
			return nil
		}
		w := open(t, m, m, d, func(c *tokenstore.Config) { c.WaitForStore = true })
		time.Sleep(time.Minute)
		w.noPick("r", "", tokenstore.ReasonStoreUnavailable)
		if len(w.NotReady()) == 0 {
			t.Error("ready without accounts")
		}
		up.Store(true)
		time.Sleep(31 * time.Second)
		if p := w.pick("r", nil); p.Account != "a" || len(w.NotReady()) != 0 {
			t.Errorf("picked %q, not ready: %v", p.Account, w.NotReady())
		}
		edit(t, m, "a", func(r *tokenstore.Record) { r.State = tokenstore.Paused })
		time.Sleep(time.Second)
		if st := w.status("a"); st.State != tokenstore.StatePaused {
			t.Errorf("changes are not followed: %s", st.State)
		}
	})
}

func TestAClaimThatTookTooLongToWriteIsNotRedeemed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		var slow atomic.Int64 // how long the next write takes
		m.Before = func(op string, _ tokenstore.AccountID) error {
			if op == "swap" {
				time.Sleep(time.Duration(slow.Swap(0)))
			}
			return nil
		}
		w := open(t, m, m, d)
		slow.Store(int64(9900 * time.Millisecond)) // of a lease of 40 s, 30 s of which the grant may take
		w.force("a", tokenstore.Refreshed)
		slow.Store(int64(10100 * time.Millisecond))
		if res := w.force("a", tokenstore.Failed); res.Class != tokenstore.RefreshNotSent || !res.Retryable ||
			d.Calls() != 1 {
			t.Errorf("%+v after %d grants", res, d.Calls())
		}
		if c := w.stored("a").Rotation.Claim; c != nil {
			t.Errorf("the claim was left behind: %+v", c)
		}
	})
}

func TestAnOperatorsForceIsNotAnsweredWithWhatTheScheduleHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a", expired))
		w := open(t, m, m, d)
		first := true
		d.OnRefresh = func(context.Context, tokenstore.Record) error {
			if first {
				first = false
				time.Sleep(time.Second)
				return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient, Status: 503}
			}
			return nil
		}
		w.renew() // starts the refresh that the operator joins
		synctest.Wait()
		w.force("a", tokenstore.Refreshed)
		if d.Calls() != 2 {
			t.Errorf("%d grants", d.Calls())
		}
	})
}
