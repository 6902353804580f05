package tokenstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestAnAccountThatWasMovedAwayNeitherServesNorRefreshesWhateverItsStateSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, account("a", expired))
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
		if st := w.status("a"); st.State != tokenstore.StatePaused || st.Routable || st.Refreshable || !strings.Contains(st.Reason, "its live copy is in vault b: copy it back") {
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
		w := newStore(t, account("a", func(r *tokenstore.Record) { r.Pools = []string{"elsewhere", "ring"} }), account("b", inPool("elsewhere")))
		if p := w.pick("rr", nil); p.Account != "a" {
			t.Errorf("picked %s", p.Account)
		}
		if st := w.status("a"); st.State != tokenstore.StateActive || !strings.Contains(st.Reason, `pool "elsewhere" is not in the configuration`) {
			t.Errorf("status: %+v", st)
		}
		if st := w.status("b"); st.State != tokenstore.StateConfigError || st.Routable || !strings.Contains(st.Reason, "key pools") {
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
		w := newStore(t, account("a"))
		w.edit("a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} })
		if p := w.pick("r", nil); p.Account != "a" {
			t.Errorf("picked %s", p.Account)
		}
		const words = "nothing to refresh with: its type is oauth_refresh and refresh_token is missing"
		if st := w.status("a"); st.State != tokenstore.StateActive || !st.Routable || st.Refreshable || !strings.Contains(st.Reason, words) {
			t.Errorf("status: %+v", st)
		}
		time.Sleep(2 * time.Hour)
		w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
		if st := w.status("a"); st.State != tokenstore.StateExpired || !strings.Contains(st.Reason, words) {
			t.Errorf("status: %+v", st)
		}
	})
}
