package tokenstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

var errDown = errors.New("the backend is down")

func TestTheClaimIsWrittenBeforeTheTokenIsRedeemed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
			c := w.stored("a").Rotation.Claim
			if c == nil || c.Fingerprint != tokenstore.Fingerprint("a", r.RefreshToken) || c.Ambiguous {
				t.Errorf("stored claim %+v", c)
			}
			return nil
		}
		w.force("a", tokenstore.Refreshed)
		if r := w.stored("a"); r.Rotation.Claim != nil || r.Rotation.Generation != 2 || r.RefreshToken.Reveal() != "rt-1" ||
			r.Rotation.Last.Result != "succeeded" {
			t.Errorf("afterwards %+v", r.Rotation)
		}
	})
}

func TestATokenIsNotRedeemedWhileTheClaimCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		m.Before = func(op string, _ tokenstore.AccountID) error {
			if op == "swap" {
				return errDown
			}
			return nil
		}
		w := open(t, m, m, d)
		if res := w.force("a", tokenstore.Failed); res.Class != tokenstore.RefreshNotSent || !res.Retryable ||
			d.Calls() != 0 {
			t.Errorf("%+v after %d grants", res, d.Calls())
		}
		w.pick("r", nil) // the living token serves on
	})
}

func TestTwoProcessesRedeemARefreshTokenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a", expired))
		d.OnRefresh = func(context.Context, tokenstore.Record) error { time.Sleep(time.Second); return nil }
		one, two := open(t, m, m, d), open(t, m, m, d)
		var group sync.WaitGroup
		for range 10 {
			for _, w := range []*world{one, two} {
				group.Go(func() {
					p, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "r"})
					if err != nil || p.Headers[0].Value != "Bearer at-1" {
						t.Errorf("%+v, %v", p, err)
					}
				})
			}
		}
		group.Wait()
		if d.Calls() != 1 || d.MostSpent() > 1 {
			t.Errorf("%d grants, one token spent %d times", d.Calls(), d.MostSpent())
		}
	})
}

func TestTwoProcessesThatRenewForADayNeverSpendATokenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"), Account("b"), Account("c"))
		d.OnRefresh = func(context.Context, tokenstore.Record) error { time.Sleep(300 * time.Millisecond); return nil }
		one, two := open(t, m, m, d), open(t, m, m, d)
		one.renew()
		two.renew()
		time.Sleep(24 * time.Hour)
		for _, id := range []tokenstore.AccountID{"a", "b", "c"} {
			if x, y := one.status(id), two.status(id); x.Fingerprint != y.Fingerprint || !x.Routable || !y.Routable {
				t.Errorf("%s: %s and %s", id, x.State, y.State)
			}
		}
		if d.MostSpent() != 1 || d.Calls() < 3*24 {
			t.Errorf("%d grants, one token spent %d times", d.Calls(), d.MostSpent())
		}
	})
}

func TestAClaimOfADeadProcessIsTakenOverAfterTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired, func(r *tokenstore.Record) {
			r.Rotation.Claim = &tokenstore.Claim{
				AttemptID:   "x",
				Holder:      "dead",
				Fingerprint: tokenstore.Fingerprint("a", r.RefreshToken),
				StartedAt:   time.Now().Add(-24 * time.Hour),
			}
		}))
		start := time.Now()
		w.force("a", tokenstore.Refreshed)
		if took := time.Since(start); took < 40*time.Second || took > 41*time.Second {
			t.Errorf("taken over after %v, want the lease of 40 s", took)
		}
	})
}

func TestALostAnswerOfASuccessfulWriteCostsNoSecondRedemption(t *testing.T) {
	for name, lost := range map[string]int32{"the claim's": 1, "the commit's": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
				put(t, m, Account("a"))
				var writes atomic.Int32
				m.After = func(tokenstore.AccountID) error {
					if writes.Add(1) == lost {
						return errDown
					}
					return nil
				}
				w := open(t, m, m, d)
				w.force("a", tokenstore.Refreshed)
				if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || r.Rotation.Claim != nil || d.Calls() != 1 ||
					writes.Load() != 2 {
					t.Errorf("%d grants, %d writes, claim %v", d.Calls(), writes.Load(), r.Rotation.Claim)
				}
			})
		})
	}
}

func TestACommitIsTriedUntilTheBackendIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a", expired))
		var down atomic.Bool
		m.Before = func(string, tokenstore.AccountID) error {
			if down.Load() {
				return errDown
			}
			return nil
		}
		d.OnRefresh = func(context.Context, tokenstore.Record) error { down.Store(true); return nil }
		w := open(t, m, m, d)
		if p := w.pick("r", nil); p.Generation != 2 {
			t.Fatalf("generation %d", p.Generation)
		}
		time.Sleep(time.Minute)
		if n := w.metric("unsaved_rotations"); n != 1 {
			t.Errorf("%v unsaved rotations, want 1", n)
		}
		down.Store(false)
		time.Sleep(10 * time.Second)
		if r := w.stored(
			"a",
		); r.RefreshToken.Reveal() != "rt-1" || w.metric("unsaved_rotations") != 0 || w.metric("claims_held") != 0 ||
			d.Calls() != 1 {
			t.Errorf("%v unsaved, %v claims held, %d grants", w.metric("unsaved_rotations"), w.metric("claims_held"), d.Calls())
		}
	})
}

func TestAnOperatorsEditBetweenClaimAndCommitIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			edit(t, w.memory, "a", func(r *tokenstore.Record) { r.Labels = map[string]string{"team": "x"}; r.Tenant = "acme" })
			return nil
		}
		w.force("a", tokenstore.Refreshed)
		time.Sleep(time.Second)
		if r := w.stored("a"); r.Labels["team"] != "x" || r.RefreshToken.Reveal() != "rt-1" || r.Rotation.Claim != nil {
			t.Errorf("stored %v %v", r.Labels, r.Rotation)
		}
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		if p, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "r", Tenant: "acme"}); err != nil ||
			p.Generation != 2 {
			t.Errorf("the new tenant: generation %d, %v", p.Generation, err)
		}
	})
}

func TestAnAccountMovedToAnotherTenantWhileACommitIsPendingLeavesItsOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		var writes atomic.Int32
		m.Before = func(op string, _ tokenstore.AccountID) error {
			if op == "swap" {
				if n := writes.Add(1); n == 2 || n == 3 {
					return errDown
				}
			}
			return nil
		}
		w := open(t, m, m, d)
		if _, err := w.RefreshAccount(t.Context(), "a", true); err != nil { // returns before it is saved
			t.Fatal(err)
		}
		synctest.Wait()
		writes.Store(10)
		edit(t, m, "a", func(r *tokenstore.Record) { r.Tenant = "acme" })
		time.Sleep(10 * time.Second)
		if r := w.stored("a"); r.Tenant != "acme" || r.RefreshToken.Reveal() != "rt-1" {
			t.Fatalf("stored tenant %q", r.Tenant)
		}
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
	})
}

func TestACredentialReplacedDuringARefreshWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.renew()
		first := true
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			if first {
				first = false
				edit(t, w.memory, "a", func(r *tokenstore.Record) {
					r.RefreshToken, r.AccessToken, r.Tenant = tokenstore.NewSecret("theirs"), tokenstore.NewSecret("their-token"), "acme"
				})
				time.Sleep(time.Second) // the watch has told of it
			}
			return nil
		}
		if _, err := w.RefreshAccount(t.Context(), "a", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if st := w.status("a"); st.Tenant != "acme" || st.State != tokenstore.StateActive {
			t.Errorf("in memory: tenant %q, %s", st.Tenant, st.State)
		}
		// The new credential is used at once, since nothing is known of the token that came with it.
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-2" || r.Rotation.Claim != nil || w.driver.MostSpent() != 1 {
			t.Errorf("stored credential of fingerprint %s, claim %v", tokenstore.Fingerprint("a", r.RefreshToken), r.Rotation.Claim)
		}
	})
}

func TestADeadCredentialIsQuarantinedAcrossRestartsUntilItIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
			if r.RefreshToken.Reveal() == "rt-of-a" {
				return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
			}
			return nil
		}
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		synctest.Wait()
		if st := w.status("a"); st.State != tokenstore.StateNeedsReauth {
			t.Fatalf("the account is %s", st.State)
		}
		w.stop()
		again := open(t, w.memory, w.memory, w.driver)
		again.renew()
		time.Sleep(time.Hour)
		if st := again.status("a"); st.State != tokenstore.StateNeedsReauth || w.driver.Calls() != 1 {
			t.Fatalf("after a restart the account is %s, %d grants", st.State, w.driver.Calls())
		}
		edit(t, w.memory, "a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("new") })
		time.Sleep(time.Second)
		if st := again.status("a"); st.State != tokenstore.StateActive {
			t.Errorf("with a new credential the account is %s: %s", st.State, st.Reason)
		}
	})
}

func TestADeadCredentialWithALivingTokenServesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent}
		}
		w.force("a", tokenstore.Failed)
		if st := w.status("a"); st.Refreshable || !st.Routable || w.pick("r", nil).Account != "a" {
			t.Errorf("refreshable %t, routable %t", st.Refreshable, st.Routable)
		}
	})
}

func TestARefreshWithoutAReadableAnswerIsAmbiguousAndWaitsForTheTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.renew()
		w.driver.OnAnswer = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
		}
		w.force("a", tokenstore.Failed)
		if st := w.status("a"); st.State != tokenstore.StateAmbiguous || !st.Routable ||
			w.metric("ambiguous_refreshes_total") != 1 {
			t.Errorf("%s, routable %t, counted %v", st.State, st.Routable, w.metric("ambiguous_refreshes_total"))
		}
		if c := w.stored("a").Rotation.Claim; c == nil || !c.Ambiguous {
			t.Errorf("stored claim %+v", c)
		}
		time.Sleep(59 * time.Minute)
		if w.driver.Calls() != 1 {
			t.Errorf("%d grants while the token lives", w.driver.Calls())
		}
		time.Sleep(45 * time.Second)
		if w.driver.Calls() != 2 {
			t.Errorf("%d grants just before the token ends", w.driver.Calls())
		}
	})
}

func TestARefreshOutlivesTheClientThatCausedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.driver.OnRefresh = func(ctx context.Context, _ tokenstore.Record) error {
			select {
			case <-time.After(3 * time.Second):
				return nil
			case <-ctx.Done():
				return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Pick(ctx, tokenstore.PickRequest{Route: "r"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		time.Sleep(3 * time.Second)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || w.pick("r", nil).Generation != 2 {
			t.Error("the refresh was lost")
		}
	})
}

func TestStopWaitsUntilARefreshIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error { time.Sleep(3 * time.Second); return nil }
		go func() { _, _ = w.Pick(context.Background(), tokenstore.PickRequest{Route: "r"}) }()
		synctest.Wait()
		start := time.Now()
		w.stop()
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || time.Since(start) != 3*time.Second {
			t.Errorf("stopped after %v", time.Since(start))
		}
		if res, err := w.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Failed ||
			w.driver.Calls() != 1 {
			t.Errorf("after the stop: %+v, %v", res, err)
		}
	})
}

func TestAGenerationNeverFallsEvenIfTheOperatorErasesTheBookkeeping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		for range 3 {
			w.force("a", tokenstore.Refreshed)
		}
		before := w.status("a").Generation
		edit(t, w.memory, "a", func(r *tokenstore.Record) {
			*r = tokenstore.Record{Provider: "p", Kind: r.Kind, RefreshToken: tokenstore.NewSecret("new")}
		})
		time.Sleep(time.Second)
		// the living token serves until the new credential has brought another
		if p := w.pick("r", nil); p.Generation != before {
			t.Errorf("generation %d follows %d", p.Generation, before)
		}
		w.force("a", tokenstore.Refreshed)
		if p := w.pick("r", nil); p.Generation <= before {
			t.Errorf("generation %d follows %d", p.Generation, before)
		}
	})
}
