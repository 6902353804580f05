package tokenstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestTheNextRenewalOfAnAmbiguousAccountIsWhenItsTokenIsTriedOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		edit(t, w.memory, "a", func(r *tokenstore.Record) { // as another process leaves it
			known := tokenstore.Fingerprint("a", r.Credential())
			r.Rotation.Claim = &tokenstore.Claim{
				AttemptID: "x", Holder: "h", StartedAt: time.Now(), Fingerprint: known, Ambiguous: true,
			}
		})
		time.Sleep(time.Second)
		st := w.status("a")
		if st.State != tokenstore.StateAmbiguous || st.ReplayAt.IsZero() || !st.NextRefresh.Equal(st.ReplayAt) {
			t.Errorf("%s, next renewal %s, tried once more %s", st.State, st.NextRefresh, st.ReplayAt)
		}
	})
}

func TestARouteWhoseAccountsAreOnHoldIsNotSaidToHaveNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for says, accounts := range map[string][]given{
			"see tokenward status":          {Account("a", func(r *tokenstore.Record) { r.State = tokenstore.Paused })},
			"add one with tokenward accoun": nil,
		} {
			ref := newStore(t, accounts...).noPick("r", "", tokenstore.ReasonNoHealthyAccount)
			if !strings.Contains(ref.Message, says) {
				t.Errorf("%d accounts: %s", len(accounts), ref.Message)
			}
		}
	})
}

func TestAnAccountThatWasMovedAwayNeitherServesNorRefreshesWhateverItsStateSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired))
		w.renew()
		synctest.Wait()
		calls := w.driver.Calls()
		w.edit("a", func(r *tokenstore.Record) {
			expired(r)
			r.State, r.Labels = tokenstore.Active, map[string]string{tokenstore.LabelCopiedTo: "vault b"}
		})
		time.Sleep(time.Hour)
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		_, err := w.RefreshAccount(context.Background(), "a", true)
		if !errors.Is(err, tokenstore.ErrPaused) || !strings.Contains(err.Error(), "vault b") {
			t.Errorf("refreshing: %v", err)
		}
		if got := w.driver.Calls(); got != calls {
			t.Errorf("it was refreshed %d times", got-calls)
		}
		if st := w.status("a"); st.State != tokenstore.StatePaused || st.Routable || st.Refreshable ||
			!strings.Contains(st.Reason, "its live copy is in vault b: copy it back") {
			t.Errorf("status: %+v", st)
		}
		w.edit("a", func(r *tokenstore.Record) { r.Labels = nil })
		time.Sleep(time.Second) // the pools are rebuilt
		if p := w.pick("r", nil); p.Account != "a" {
			t.Errorf("picked %s", p.Account)
		}
	})
}

func TestAnAccountServesInThePoolsThatThisConfigurationKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", func(r *tokenstore.Record) { r.Pools = []string{"elsewhere", "ring"} }), Account("b", inPool("elsewhere")))
		if p := w.pick("rr", nil); p.Account != "a" {
			t.Errorf("picked %s", p.Account)
		}
		if st := w.status("a"); st.State != tokenstore.StateActive ||
			!strings.Contains(st.Reason, `pool "elsewhere" is not in the configuration`) {
			t.Errorf("status: %+v", st)
		}
		if st := w.status("b"); st.State != tokenstore.StateConfigError || st.Routable ||
			!strings.Contains(st.Reason, "key pools") {
			t.Errorf("status: %+v", st)
		}
		w.edit("b", func(r *tokenstore.Record) { r.Pools = nil })
		time.Sleep(time.Second) // the pools are rebuilt
		if p := w.pick("r", nil); p.Account != "b" {
			t.Errorf("picked %s", p.Account)
		}
	})
}

func TestAnEmptiedRefreshTokenIsSaidSoWhileTheAccessTokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.edit("a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} })
		if p := w.pick("r", nil); p.Account != "a" {
			t.Errorf("picked %s", p.Account)
		}
		const words = "nothing to refresh with: its type is oauth_refresh and refresh_token is missing"
		if st := w.status("a"); st.State != tokenstore.StateActive || !st.Routable || st.Refreshable ||
			!strings.Contains(st.Reason, words) {
			t.Errorf("status: %+v", st)
		}
		time.Sleep(2 * time.Hour)
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		if st := w.status("a"); st.State != tokenstore.StateExpired || !strings.Contains(st.Reason, words) {
			t.Errorf("status: %+v", st)
		}
	})
}

func TestTheEndOfARecordIsToldUnlessARefreshComesBefore(t *testing.T) {
	now := time.Now().UTC()
	for name, c := range map[string]struct {
		edit func(*tokenstore.Record)
		told bool
	}{
		"it never ends":              {func(r *tokenstore.Record) { r.Ends = time.Time{} }, false},
		"it is refreshed before":     {func(*tokenstore.Record) {}, false},
		"its token outlives it":      {func(r *tokenstore.Record) { r.ExpiresAt = now.Add(3 * time.Hour) }, true},
		"its token never ends":       {func(r *tokenstore.Record) { r.ExpiresAt = time.Time{} }, true},
		"nothing to refresh with":    {func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} }, true},
		"the refresh token is dead":  {func(r *tokenstore.Record) { r.Rotation.Last = &tokenstore.Outcome{Class: tokenstore.RefreshPermanent} }, true},
		"the latest refresh was bad": {func(r *tokenstore.Record) { r.Rotation.Last = &tokenstore.Outcome{Class: tokenstore.RefreshTransient} }, false},
	} {
		r := Account("a").record
		r.Ends = now.Add(2 * time.Hour)
		c.edit(&r)
		cfg := testConfig(tokenstoretest.NewDriver())
		if _, why := tokenstore.Standing("a", r, cfg.Drivers, cfg.Pools); strings.Contains(why, "delete_version_after") != c.told {
			t.Errorf("%s: %q", name, why)
		}
	}
}
