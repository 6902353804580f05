package tokenstore_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// split makes the token endpoint's access tokens unusable.
func split(g *tokenstore.Grant) { g.AccessToken = tokenstore.NewSecret("at\r\nx-evil: 1") }

func TestAnUnusableAccessTokenIsNotInstalledAndTheRefreshTokenBesideItIsKept(t *testing.T) {
	for name, stored := range map[string]func(*tokenstore.Record){"living": func(*tokenstore.Record) {}, "expired": expired} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
				put(t, m, Account("a", stored))
				d.OnGrant = split
				w := open(t, m, m, d)
				res := w.force("a", tokenstore.Failed)
				if res.Class != tokenstore.RefreshMisconfigured || !strings.Contains(res.Error, "access_token must be one line") {
					t.Errorf("result: %+v", res)
				}
				synctest.Wait()
				r := w.stored("a")
				if r.RefreshToken.Reveal() == "rt-of-a" || r.AccessToken.Reveal() != "at-of-a" || r.Rotation.Claim != nil ||
					r.Rotation.Last.Result != "failed" {
					t.Errorf("stored: %+v", r)
				}
				if name == "living" {
					if p := w.pick("r", nil); p.Headers[0].Value != "Bearer at-of-a" {
						t.Errorf("picked %s", p.Headers[0].Value)
					}
				} else {
					w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
					if st := w.status("a"); st.Routable || !strings.Contains(st.Reason, "access_token must be one line") {
						t.Errorf("status: %+v", st)
					}
				}
				calls := d.Calls()
				time.Sleep(time.Minute)
				if d.Calls() != calls {
					t.Error("the token endpoint was asked again within a minute")
				}
				d.OnGrant = nil
				w.force("a", tokenstore.Refreshed)
				if p := w.pick("r",
					nil); !strings.HasPrefix(p.Headers[0].Value, "Bearer at-") || strings.HasSuffix(p.Headers[0].Value, "of-a") ||
					d.MostSpent() != 1 {
					t.Errorf("picked %s, a refresh token was spent %d times", p.Headers[0].Value, d.MostSpent())
				}
			})
		})
	}
}

func TestAnUnusableAccessTokenWithoutARefreshTokenIsAFailedRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		d.OnGrant = func(g *tokenstore.Grant) { split(g); g.RefreshToken = tokenstore.Secret{} }
		w := open(t, m, m, d)
		w.force("a", tokenstore.Failed)
		r := w.stored("a")
		if r.RefreshToken.Reveal() != "rt-of-a" || r.AccessToken.Reveal() != "at-of-a" || r.Rotation.Claim != nil ||
			r.Rotation.Last.Class != tokenstore.RefreshMisconfigured {
			t.Errorf("stored: %+v", r)
		}
	})
}

func TestTheRefreshTokenBesideAnUnusableAccessTokenSurvivesACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crashWith(t, split, tokenstore.Failed)
		c.driver.OnGrant = nil
		w := c.open(t)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || c.left(t) != 0 {
			t.Errorf("stored %+v, %d entries left", r, c.left(t))
		}
		w.force("a", tokenstore.Refreshed)
		if c.driver.MostSpent() != 1 {
			t.Error("a refresh token was spent twice")
		}
	})
}

func TestTwoProcessesThatGetUnusableAccessTokensDoNotHammerTheTokenEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a", expired))
		var mended atomic.Bool
		d.OnGrant = func(g *tokenstore.Grant) {
			if !mended.Load() {
				split(g)
			}
		}
		one, two := open(t, m, m, d), open(t, m, m, d)
		one.renew()
		two.renew()
		time.Sleep(time.Hour)
		if d.MostSpent() != 1 || d.Calls() > 2*13 {
			t.Errorf("%d grants in an hour, one token spent %d times", d.Calls(), d.MostSpent())
		}
		mended.Store(true)
		time.Sleep(10 * time.Minute)
		if x, y := one.status("a"), two.status("a"); x.State != tokenstore.StateActive || y.State != tokenstore.StateActive {
			t.Errorf("the endpoint is mended, and it is %s and %s", x.State, y.State)
		}
	})
}
