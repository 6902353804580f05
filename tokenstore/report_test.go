package tokenstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestARefusedTokenIsRefreshedOnceAndTheSameAccountTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		p := w.pick("r", nil)
		h := &holder{}
		d, err := w.Report(t.Context(), p, answer(401), nil, h)
		if err != nil || d.Action != tokenstore.Retry || h.held.Load() != 1 {
			t.Fatalf("%+v, %v, held %d times", d, err, h.held.Load())
		}
		q := w.pick("r", d.Trail)
		if q.Account != p.Account || q.Generation != p.Generation+1 || q.Headers[0].Value != "Bearer at-1" ||
			w.driver.Calls() != 1 {
			t.Errorf("then %s generation %d after %d refreshes", q.Account, q.Generation, w.driver.Calls())
		}
		if d := w.report(q, answer(200), d.Trail); d.Action != tokenstore.Pass {
			t.Errorf("an accepted token leads to %s", d.Action)
		}
	})
}

func TestARefusalOfAnOldTokenIsTriedAgainWithoutARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		p := w.pick("r", nil)
		w.force("a", tokenstore.Refreshed)
		start := time.Now()
		d := w.report(p, answer(401), nil)
		if q := w.pick("r", d.Trail); d.Action != tokenstore.Retry || q.Generation != 2 || w.driver.Calls() != 1 ||
			time.Since(start) != 0 {
			t.Errorf("%s, generation %d, %d refreshes, %v", d.Action, q.Generation, w.driver.Calls(), time.Since(start))
		}
		if st := w.status("a"); st.State != tokenstore.StateActive {
			t.Errorf("evidence about the old token makes the account %s", st.State)
		}
	})
}

func TestATokenRefusedRightAfterARefreshComesAfterTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		p := w.pick("r", nil)
		d := w.report(p, answer(401), nil)
		q := w.pick("r", d.Trail)
		d = w.report(q, answer(401), d.Trail)
		if d.Action != tokenstore.Retry {
			t.Fatalf("%s", d.Action)
		}
		if other := w.pick("r", d.Trail); other.Account == p.Account {
			t.Error("the suspect account is tried again")
		}
		for range 10 {
			if other := w.pick("r", nil); other.Account == p.Account {
				t.Error("a refused token is preferred to one that nothing speaks against")
			}
		}
		if st := w.status(p.Account); st.State != tokenstore.StateActive || !st.Routable || w.driver.Calls() != 1 {
			t.Errorf("one request makes its account %s, routable %t, after %d refreshes", st.State, st.Routable, w.driver.Calls())
		}
	})
}

func TestAnAcceptedTokenClearsTheSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		d := w.report(w.pick("r", nil), answer(401), nil)
		w.report(w.pick("r", d.Trail), answer(401), d.Trail)
		time.Sleep(61 * time.Second)
		p := w.pick("r", nil)
		synctest.Wait() // its refresh is saved
		w.report(p, answer(200), nil)
		d = w.report(p, answer(401), nil) // revoked later: that is worth a refresh
		if d.Action != tokenstore.Retry || w.status("a").State != tokenstore.StateActive {
			t.Errorf("%s, account %s", d.Action, w.status("a").State)
		}
	})
}

func TestWhenAttemptsAreUsedUpARefusalBecomesOursOrPassesAsTheRouteSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"), Account("c"))
		d := w.report(w.pick("once", nil), tokenstore.Response{Status: 401, Body: []byte("bad key"), BodyRead: true}, nil)
		if d.Action != tokenstore.Refuse || d.Refusal.Status != 503 ||
			d.Refusal.Reason != tokenstore.ReasonCredentialsRefused ||
			d.Refusal.ProviderStatus != 401 ||
			d.Refusal.ProviderMessage != "bad key" {
			t.Errorf("refused: %+v", d)
		}
		if d := w.report(w.pick("pass", nil), answer(401), nil); d.Action != tokenstore.Pass || d.Refusal != nil {
			t.Errorf("passed: %+v", d)
		}
	})
}

func TestNoRequestIsTriedMoreOftenThanItsRouteAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var accounts []given
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			accounts = append(accounts, Account(id))
		}
		w := newStore(t, accounts...)
		var trail *tokenstore.Trail
		for attempt := 1; ; attempt++ {
			d := w.report(w.pick("r", trail), limited(60), trail)
			if d.Action == tokenstore.Pass {
				if attempt != 4 {
					t.Errorf("%d attempts, want 4", attempt)
				}
				return
			}
			trail = d.Trail
		}
	})
}

func TestNoAttemptIsAddedAfterTheRecoveryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"), Account("c"))
		d := w.report(w.pick("r", nil), limited(60), nil)
		p := w.pick("r", d.Trail)
		time.Sleep(31 * time.Second)
		if d := w.report(p, limited(60), d.Trail); d.Action != tokenstore.Pass {
			t.Errorf("%s", d.Action)
		}
	})
}

func TestARateLimitPassesWhereTheRouteWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		for _, status := range []int{429, 503, 529} {
			if d := w.report(w.pick("still", nil), answer(status), nil); d.Action != tokenstore.Pass {
				t.Errorf("%d leads to %s", status, d.Action)
			}
		}
	})
}

func TestRateLimitsWithoutAResetTimeCoolLongerAndLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			w.report(w.pick("r", nil), answer(429), nil)
			if got := time.Until(w.status("a").Cooldowns[0].Until); got != want {
				t.Errorf("cooling for %v, want %v", got, want)
			}
			time.Sleep(want)
		}
		w.report(w.pick("r", nil), answer(200), nil)
		w.report(w.pick("r", nil), answer(429), nil)
		if got := time.Until(w.status("a").Cooldowns[0].Until); got != time.Second {
			t.Errorf("after a success cooling for %v", got)
		}
	})
}

func TestAStormOfRefusalsCostsOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error { time.Sleep(time.Second); return nil }
		var picks []tokenstore.Pick
		for range 200 {
			picks = append(picks, w.pick("r", nil))
		}
		var group sync.WaitGroup
		for i, p := range picks {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond) // before, during and after the refresh
				d, err := w.Report(t.Context(), p, answer(401), nil, nil)
				if err != nil || d.Action != tokenstore.Retry {
					t.Errorf("%+v, %v", d, err)
					return
				}
				if q, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "r", Trail: d.Trail}); err != nil ||
					q.Generation != 2 {
					t.Errorf("then generation %d, %v", q.Generation, err)
				}
			})
		}
		group.Wait()
		if w.driver.Calls() != 1 {
			t.Errorf("%d refreshes", w.driver.Calls())
		}
	})
}

func TestAClientThatLeavesDuringAReportGetsItsContextsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error { time.Sleep(3 * time.Second); return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Report(ctx, w.pick("r", nil), answer(401), nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		time.Sleep(3 * time.Second)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" {
			t.Error("the refresh was lost with its client")
		}
	})
}

func TestAnUpstreamThatCannotBeReachedIsARefusalThatNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		d := w.report(w.pick("r", nil), tokenstore.Response{Status: 503, Local: true, NotSent: true, Detail: "no_healthy_upstream"}, nil)
		if d.Action != tokenstore.Refuse || d.Refusal.Status != 503 ||
			d.Refusal.Reason != tokenstore.ReasonUpstreamUnreachable ||
			len(d.Refusal.Body) == 0 {
			t.Fatalf("%+v", d)
		}
		if !strings.Contains(d.Refusal.Message, "upstream main") ||
			strings.Contains(d.Refusal.Message, "no_healthy_upstream") {
			t.Errorf("message: %s", d.Refusal.Message)
		}
	})
}

func TestATokenThatTheProviderEchoesIsNotShownToTheClient(t *testing.T) {
	for name, words := range map[string]string{"whole": "bad token at-of-account-a!", "cut": "bad token at-of-acco", "cut and marked": "bad token at-of-accou…"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("account-a"))
				d := w.report(w.pick("once", nil), tokenstore.Response{Status: 401, Body: []byte(words), BodyRead: true}, nil)
				if d.Action != tokenstore.Refuse || strings.Contains(string(d.Refusal.Body), "at-of") ||
					!strings.Contains(string(d.Refusal.Body), "bad token [redacted]") {
					t.Errorf("%s: %s", d.Action, d.Refusal.Body)
				}
			})
		})
	}
}

func TestARefusedKeyComesAfterOthersAndServesWhenThereAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// nothing to refresh with
		w := newStore(t, Account("key", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} }))
		w.report(w.ask("once", "c1", "/chat"), answer(401), nil)
		if st := w.status("key"); st.State != tokenstore.StateActive {
			t.Errorf("one request makes it %s", st.State)
		}
		w.report(w.ask("once", "c2", "/other"), answer(401), nil)
		if st := w.status("key"); st.State != tokenstore.StateCooling || !strings.Contains(st.Reason, "accounts add") {
			t.Errorf("%s: %s", st.State, st.Reason)
		}
		p := w.ask("once", "c3", "/chat") // it is all there is
		w.report(p, answer(200), nil)
		if st := w.status("key"); st.State != tokenstore.StateActive {
			t.Errorf("accepted, it is %s", st.State)
		}
	})
}
