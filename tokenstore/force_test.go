package tokenstore_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// doubtful is a store whose account a lost the answer of a refresh while its token has most of an hour left.
func doubtful(t *testing.T) *world {
	t.Helper()
	w := newStore(t, Account("a"))
	w.driver.OnAnswer = func(context.Context, tokenstore.Record) error {
		return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
	}
	w.force("a", tokenstore.Failed)
	w.driver.OnAnswer = nil
	return w
}

func TestAnUnforcedRefreshOfAnAmbiguousAccountSaysWhenItIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := doubtful(t)
		peer := open(t, w.memory, w.memory, w.driver) // such as the command line
		for _, s := range []*world{w, peer} {
			began := time.Now()
			r, err := s.RefreshAccount(t.Context(), "a", false)
			if err != nil || r.Outcome != tokenstore.Skipped || !r.Retryable || r.Class != tokenstore.RefreshUnknown ||
				!strings.Contains(r.Error, "tried again shortly before") ||
				time.Since(began) != 0 {
				t.Errorf("after %v: %+v, %v", time.Since(began), r, err)
			}
		}
		if w.driver.Calls() != 1 {
			t.Errorf("%d grants", w.driver.Calls())
		}
		time.Sleep(time.Hour) // nothing is at stake any more: it may be tried
		if _, err := peer.RefreshAccount(t.Context(), "a", false); err != nil || w.driver.Calls() != 2 {
			t.Errorf("%v, %d grants", err, w.driver.Calls())
		}
	})
}

func TestAForcedRefreshOfAnAmbiguousAccountGoesAheadInEveryProcess(t *testing.T) {
	for _, own := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := doubtful(t)
			if !own {
				w = open(t, w.memory, w.memory, w.driver)
			}
			if risk, grave := w.status("a").ForceRisk(time.Now()); !grave || !strings.Contains(risk, "revokes the account") {
				t.Errorf("risk %q, grave %t", risk, grave)
			}
			began := time.Now()
			w.force("a", tokenstore.Failed) // the strict provider's second answer
			if w.driver.Calls() != 2 || time.Since(began) > time.Second {
				t.Errorf("%d grants after %v", w.driver.Calls(), time.Since(began))
			}
		})
	}
}

func TestTheRiskOfForcingIsTold(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		state   tokenstore.AccountState
		left    time.Duration
		says    string
		isGrave bool
	}{
		{tokenstore.StateActive, time.Hour, "it spends a refresh token although the access token lives, which lives for another 1h0m0s", false},
		{tokenstore.StateAmbiguous, time.Hour, "with it the access token, which lives for another 1h0m0s", true},
		{tokenstore.StateAmbiguous, -time.Hour, "needs a new login", false},
		{tokenstore.StateNeedsReauth, time.Hour, "has refused its credential for good", false},
		{tokenstore.StateExpired, -time.Hour, "", false},
	} {
		risk, grave := tokenstore.AccountStatus{State: c.state, Generation: 1, ExpiresAt: now.Add(c.left)}.ForceRisk(now)
		if !strings.Contains(risk, c.says) || (risk == "") != (c.says == "") || grave != c.isGrave {
			t.Errorf("%s, %v left: %q, grave %t", c.state, c.left, risk, grave)
		}
	}
}
