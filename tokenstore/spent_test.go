package tokenstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// refreshed is a store whose account a was refreshed twice, and the record as it was in the beginning.
func refreshed(t *testing.T) (*world, tokenstore.Record) {
	t.Helper()
	w := newStore(t, account("a"))
	old := w.stored("a")
	for range 2 {
		w.force("a", tokenstore.Refreshed)
		time.Sleep(time.Second)
	}
	return w, old
}

// back has the store show an old record.
func back(t *testing.T, w *world, r tokenstore.Record) {
	t.Helper()
	_, v, err := w.memory.Load(t.Context(), "a")
	if err == nil {
		_, err = w.memory.CompareAndSwap(t.Context(), "a", r, v)
	} else {
		_, err = w.memory.CompareAndSwap(t.Context(), "a", r, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
}

func unharmed(t *testing.T, w *world) {
	t.Helper()
	if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-2" || r.Rotation.Claim != nil {
		t.Errorf("stored is %q", r.RefreshToken.Reveal())
	}
	if p := w.pick("r", nil); p.Headers[0].Value != "Bearer at-2" {
		t.Error("another token is picked")
	}
	w.force("a", tokenstore.Refreshed)
	if w.driver.MostSpent() != 1 {
		t.Error("a refresh token was spent twice")
	}
}

func TestAStoreThatWentBackInTimeGetsTheLivingTokenAgain(t *testing.T) {
	for name, change := range map[string]func(*tokenstore.Record){
		"as it was, from a snapshot":          func(*tokenstore.Record) {},
		"put again without its bookkeeping":   func(r *tokenstore.Record) { r.Rotation = tokenstore.Rotation{} },
		"with an edit of the operator's":      func(r *tokenstore.Record) { r.Labels = map[string]string{"team": "x"} },
		"without the access token":            func(r *tokenstore.Record) { r.AccessToken = tokenstore.Secret{} },
		"with another writer's living claim":  func(r *tokenstore.Record) { r.Rotation.Claim = &tokenstore.Claim{AttemptID: "1", Holder: "other"} },
		"in another incarnation, rolled back": func(r *tokenstore.Record) { r.Rotation.Incarnation = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, old := refreshed(t)
				change(&old)
				back(t, w, old)
				if r := w.stored("a"); r.Labels["team"] != old.Labels["team"] {
					t.Error("the operator's edit is gone")
				}
				unharmed(t, w)
			})
		})
	}
}

func TestARecordThatWasGoneForAWhileGetsTheLivingTokenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, old := refreshed(t)
		_, v, _ := w.memory.Load(t.Context(), "a")
		if err := w.memory.Delete(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := w.Status("a"); !errors.Is(err, tokenstore.ErrUnknownAccount) {
			t.Errorf("a removed account: %v", err)
		}
		back(t, w, old)
		unharmed(t, w)
	})
}

func TestAPeerThatSawTheRotationsGivesTheLivingTokenBackToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, old := refreshed(t)
		peer := open(t, w.memory, w.memory, w.driver)
		w.force("a", tokenstore.Refreshed)
		time.Sleep(time.Second)
		w.stop()
		before := w.stored("a")
		before.RefreshToken, before.Rotation = tokenstore.NewSecret("rt-2"), old.Rotation
		back(t, w, before)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-3" {
			t.Errorf("stored is %q", r.RefreshToken.Reveal())
		}
		peer.force("a", tokenstore.Refreshed)
		if w.driver.MostSpent() != 1 {
			t.Error("a refresh token was spent twice")
		}
	})
}

func TestARolledBackCredentialIsTakenWhenItsSuccessorIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, old := refreshed(t)
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent}
		}
		w.force("a", tokenstore.Failed)
		back(t, w, old)
		if r := w.stored("a"); r.RefreshToken.Reveal() == "rt-2" {
			t.Error("the dead credential was put back")
		}
	})
}

func TestARefusalRightAfterARefreshWaitsForItsSaveAndRefreshesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, account("a"))
		var writes atomic.Int32
		w.memory.Before = func(op string, _ tokenstore.AccountID) error {
			if op == "swap" && writes.Add(1) == 2 { // the commit
				time.Sleep(300 * time.Millisecond)
			}
			return nil
		}
		w.force("a", tokenstore.Refreshed)
		p := w.pick("r", nil)
		w.report(p, answer(200), nil)
		d := w.report(p, answer(401), nil)
		if d.Action != tokenstore.Retry || w.driver.Calls() != 2 || w.driver.MostSpent() != 1 {
			t.Errorf("%v after %d grants", d.Action, w.driver.Calls())
		}
	})
}

func TestAccountsThatWaitedForTheStoreAreTriedAtOnceWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := openPolled(t)
		w.renew()
		time.Sleep(3 * time.Second)
		p.looks.Store(true)
		p.loads.Store(true)
		p.writes.Store(true)
		time.Sleep(3 * time.Hour) // the token is long dead, the backoff at its longest
		p.looks.Store(false)
		p.loads.Store(false)
		p.writes.Store(false)
		time.Sleep(3 * time.Second)
		if p := w.pick("r", nil); p.Account != "a" {
			t.Errorf("picked %s", p.Account)
		}
	})
}

func TestAJournalThatFailsIsTriedAgainAndShown(t *testing.T) {
	for name, fault := range map[string]func(){"failing": func() {}, "hanging": func() { time.Sleep(time.Minute) }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d, j := tokenstoretest.NewMemory(), tokenstoretest.NewDriver(), &tokenstoretest.Journal{}
				put(t, m, account("a"))
				var full, away atomic.Bool
				full.Store(true)
				j.Before = func() error {
					if full.Load() {
						fault()
						return errDown
					}
					return nil
				}
				m.Before = func(op string, _ tokenstore.AccountID) error {
					if op == "swap" && away.Load() {
						return errDown
					}
					return nil
				}
				w := open(t, m, m, d, func(cfg *tokenstore.Config) { cfg.Journal = j })
				w.force("a", tokenstore.Refreshed)
				time.Sleep(3 * time.Second)
				if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" {
					t.Error("the journal kept the rotation out of the store")
				}
				if why := w.Degraded(); len(why) != 1 || w.metric("journal_up") != 0 {
					t.Errorf("degraded: %q", why)
				}
				time.Sleep(2 * time.Minute)
				d.OnAnswer = func(context.Context, tokenstore.Record) error { away.Store(true); return nil }
				w.force("a", tokenstore.Refreshed)
				time.Sleep(2 * time.Minute)
				full.Store(false)
				time.Sleep(2 * time.Minute)
				if left, _ := j.Entries(); len(left) != 1 || w.metric("journal_up") != 1 {
					t.Errorf("%d entries after there is room again", len(left))
				}
				away.Store(false)
				time.Sleep(time.Minute)
				if left, _ := j.Entries(); len(left) != 0 || len(w.Degraded()) != 0 {
					t.Errorf("%d entries after the save; degraded: %q", len(left), w.Degraded())
				}
			})
		})
	}
}

func TestWithoutTheStoreTheServiceIsReadyForAsLongAsATokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := openPolled(t)
		time.Sleep(3 * time.Second)
		p.looks.Store(true)
		p.loads.Store(true)
		time.Sleep(time.Minute)
		if why := w.NotReady(); len(why) != 0 {
			t.Errorf("not ready: %q", why)
		}
		time.Sleep(2 * time.Hour)
		if why := w.NotReady(); len(why) != 1 {
			t.Errorf("ready without a living token: %q", why)
		}
	})
}
