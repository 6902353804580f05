package tokenstore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// silent makes the token endpoint say nothing of its tokens' lives.
func silent(d *tokenstoretest.Driver) {
	d.OnGrant = func(g *tokenstore.Grant) { g.ExpiresIn = 0 }
}

func unknownEnd(r *tokenstore.Record) { r.ExpiresAt = time.Time{} }

func TestATokenOfUnknownLifeIsRenewedBeforeItIsExpectedToEnd(t *testing.T) {
	for name, c := range map[string]struct {
		prepare       func(d *tokenstoretest.Driver)
		first, second time.Duration // when it is renewed, at the latest
	}{
		"nothing is known": {silent, 23 * time.Hour, 46 * time.Hour},
		"the token tells": {func(d *tokenstoretest.Driver) {
			silent(d)
			d.Life = 70 * time.Second
		}, 35 * time.Second, 70 * time.Second},
		"the answer hints": {func(d *tokenstoretest.Driver) {
			d.OnGrant = func(g *tokenstore.Grant) { g.ExpiresIn, g.Hint = 0, time.Hour }
		}, 23 * time.Hour, 23*time.Hour + 40*time.Minute},
		"an earlier answer told": {func(d *tokenstoretest.Driver) {
			n := 0
			d.OnGrant = func(g *tokenstore.Grant) {
				if n++; n > 1 {
					g.ExpiresIn = 0
				}
			}
		}, 23 * time.Hour, 23*time.Hour + 40*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
				put(t, m, Account("a", unknownEnd))
				c.prepare(d)
				w := open(t, m, m, d)
				w.renew()
				if st := w.status(
					"a",
				); st.State != tokenstore.StateActive || !st.ExpiresAt.IsZero() || time.Until(st.NextRefresh) > c.first ||
					time.Until(st.NextRefresh) < c.first*3/4 {
					t.Errorf("it is %s, to be renewed in %v", st.State, time.Until(st.NextRefresh))
				}
				time.Sleep(c.first)
				if d.Calls() != 1 {
					t.Fatalf("%d renewals after %v", d.Calls(), c.first)
				}
				time.Sleep(c.second - c.first)
				if d.Calls() < 2 {
					t.Errorf("%d renewals after %v", d.Calls(), c.second)
				}
				if st := w.status("a"); !st.Routable || st.Reason != "" {
					t.Errorf("it is %s: %s", st.State, st.Reason)
				}
			})
		})
	}
}

func TestAWrongHintMakesNoTokenUnusable(t *testing.T) {
	for _, life := range []time.Duration{10 * time.Second, time.Minute, 1000 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
			put(t, m, Account("a", unknownEnd))
			d.Life = life
			w := open(t, m, m, d)
			time.Sleep(2 * life) // nobody renews
			if st := w.status("a"); !st.Routable || !st.ExpiresAt.IsZero() || w.pick("r", nil).Account != "a" || d.Calls() != 0 {
				t.Errorf("it is %s, routable %t, %d refreshes", st.State, st.Routable, d.Calls())
			}
		})
	}
}

func TestTheAgeThatAProvidersTokensReachIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a", unknownEnd), Account("b", unknownEnd, inPool("spare")))
		silent(d)
		w := open(t, m, m, d)
		w.renew()
		time.Sleep(2 * time.Minute)
		w.report(w.pick("r", nil), answer(401), nil) // revoked, not of age: no sign
		synctest.Wait()
		if left := time.Until(w.status("a").NextRefresh); left < 20*time.Hour {
			t.Errorf("after a revocation it is renewed in %v", left)
		}
		time.Sleep(time.Hour)
		w.report(w.pick("r", nil), answer(401), nil)
		synctest.Wait()
		if left := time.Until(w.status("a").NextRefresh); left < 35*time.Minute || left > 40*time.Minute {
			t.Errorf("its token lived an hour, and it is renewed in %v", left)
		}
		time.Sleep(6 * time.Minute) // the sweep plans the other account anew
		if w.stored("b").Rotation.Generation == 0 {
			t.Error("the provider's other account, whose token is as old, was not renewed")
		}
		calls := d.Calls()
		time.Sleep(10 * time.Hour)
		if n := d.Calls() - calls; n < 2*14 || n > 2*18 {
			t.Errorf("%d renewals of two accounts in ten hours", n)
		}
	})
}

func TestATokenOfUnknownLifeIsUsedUpBeforeADoubtfulCredentialIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a", unknownEnd))
		d.Life = time.Hour
		w := open(t, m, m, d)
		w.renew()
		d.OnAnswer = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
		}
		w.force("a", tokenstore.Failed)
		time.Sleep(59 * time.Minute)
		if st := w.status("a"); d.Calls() != 1 || st.State != tokenstore.StateAmbiguous || !st.Routable {
			t.Errorf("%d grants, it is %s", d.Calls(), st.State)
		}
		time.Sleep(45 * time.Second)
		if d.Calls() != 2 {
			t.Errorf("%d grants when the token is expected to end", d.Calls())
		}
	})
}

func TestATokenThatAnotherMachinesClockPutsIntoTheFutureIsPlannedForByItsLifetime(t *testing.T) {
	for name, claim := range map[string]*tokenstore.Claim{"in order": nil, "in doubt": {AttemptID: "x", Holder: "dead"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, Account("a", func(r *tokenstore.Record) {
				r.ObtainedAt, r.ExpiresAt = r.ObtainedAt.Add(5*time.Hour), r.ExpiresAt.Add(5*time.Hour)
				if claim != nil {
					claim.Fingerprint = tokenstore.Fingerprint("a", r.RefreshToken)
					r.Rotation.Claim = claim
				}
			}))
			w.renew()
			time.Sleep(time.Hour)
			if w.driver.Calls() == 0 || w.stored("a").Rotation.Generation == 0 {
				t.Errorf("%s: %d refreshes within its life", name, w.driver.Calls())
			}
		})
	}
}

func TestTokensThatNobodyCanRefreshAreNotPlannedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", unknownEnd, func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} }))
		w.renew()
		time.Sleep(72 * time.Hour)
		if st := w.status("a"); !st.NextRefresh.IsZero() || st.State != tokenstore.StateActive || w.driver.Calls() != 0 {
			t.Errorf("it is %s, to be renewed at %v; %d refreshes", st.State, st.NextRefresh, w.driver.Calls())
		}
	})
}

func TestTheEventOfARefreshNamesNoEndThatNobodyTold(t *testing.T) {
	for told, silence := range map[bool]bool{true: false, false: true} {
		synctest.Test(t, func(t *testing.T) {
			m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
			put(t, m, Account("a"))
			if silence {
				silent(d)
			}
			core, logs := observer.New(zap.InfoLevel)
			s, err := tokenstore.New(testConfig(d), m, tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true), zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.RefreshAccount(t.Context(), "a", true); err != nil {
				t.Error(err)
			}
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			events := logs.FilterField(zap.String("event", "refresh_succeeded")).All()
			if len(events) != 1 {
				t.Fatalf("%d events", len(events))
			}
			if _, has := events[0].ContextMap()["expires_at"]; has != told {
				t.Errorf("told %t: %v", told, events[0].ContextMap())
			}
		})
	}
}
