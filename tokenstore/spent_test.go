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
	w := newStore(t, Account("a"))
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

func TestAnAccountThatIsRemovedAndAddedAnewIsANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, fresh := refreshed(t)
		w.renew()
		_, v, _ := w.memory.Load(t.Context(), "a")
		if err := w.memory.Delete(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		fresh.RefreshToken, fresh.AccessToken = tokenstore.NewSecret("rt-fresh"), tokenstore.NewSecret("at-fresh")
		back(t, w, fresh)
		if p := w.pick("r", nil); p.Headers[0].Value != "Bearer at-fresh" || w.driver.Calls() != 2 {
			t.Errorf("picked %s after %d grants", p.Headers[0].Value, w.driver.Calls())
		}
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

func TestAPeerThatWasStartedAfterTheRotationsKnowsThemFromTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, old := refreshed(t)
		peer := open(t, w.memory, w.memory, w.driver)
		w.stop()
		back(t, w, old)
		unharmed(t, peer)
	})
}

func TestAStoreThatWentBackManyRotationsGetsTheLivingTokenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, old := refreshed(t)
		for range 100 {
			w.force("a", tokenstore.Refreshed)
			time.Sleep(time.Second)
		}
		back(t, w, old)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-102" || len(r.Rotation.Spent) != 16 {
			t.Errorf("stored is %q, %d spent ones are told", r.RefreshToken.Reveal(), len(r.Rotation.Spent))
		}
		w.force("a", tokenstore.Refreshed)
		if w.driver.MostSpent() != 1 {
			t.Error("a refresh token was spent twice")
		}
	})
}

// late delays reads, each by what the channel holds.
type late struct {
	*tokenstoretest.Memory
	delays chan time.Duration
}

func (l late) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	r, v, err := l.Memory.Load(ctx, id)
	select {
	case d := <-l.delays:
		time.Sleep(d)
	default:
	}
	return r, v, err
}

// The claim reads the record, and before the answer is there the watch has seen the same version and mended it.
func TestAReadThatTheWatchOvertookSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		l := late{m, make(chan time.Duration, 2)}
		w := open(t, l, m, d)
		old := w.stored("a")
		w.force("a", tokenstore.Refreshed)
		time.Sleep(3 * time.Second)
		_, v, _ := m.Load(t.Context(), "a")
		l.delays <- time.Second
		l.delays <- 2 * time.Second
		if _, err := m.CompareAndSwap(t.Context(), "a", old, v); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the watch reads
		w.force("a", tokenstore.Refreshed)
		time.Sleep(5 * time.Second)
		if r := w.stored("a"); d.MostSpent() != 1 || r.RefreshToken.Reveal() != "rt-2" {
			t.Errorf("a refresh token was spent %d times; stored is %q", d.MostSpent(), r.RefreshToken.Reveal())
		}
	})
}

func TestARecordMadeAnewUpToTheClaimsVersionIsNotOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		m.Restarting = true
		put(t, m, Account("a"))
		w := open(t, m, m, d)
		d.OnAnswer = func(ctx context.Context, _ tokenstore.Record) error {
			time.Sleep(2 * time.Second)
			_, v, _ := m.Load(ctx, "a")
			theirs := Account("a").record
			theirs.RefreshToken = tokenstore.NewSecret("theirs")
			if err := m.Delete(ctx, "a", v); err != nil {
				t.Error(err)
			}
			for expect := range v { // up to the same number
				if _, err := m.CompareAndSwap(ctx, "a", theirs, expect); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		_, _ = w.RefreshAccount(t.Context(), "a", true)
		time.Sleep(5 * time.Second)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "theirs" {
			t.Errorf("stored is %q", r.RefreshToken.Reveal())
		}
	})
}

func TestACredentialThatWasReplacedAndNeverSpentMayComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		peer := open(t, w.memory, w.memory, w.driver)
		first := w.stored("a").RefreshToken
		edit(t, w.memory, "a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("second") })
		w.force("a", tokenstore.Refreshed)
		time.Sleep(time.Second)
		edit(t, w.memory, "a", func(r *tokenstore.Record) { r.RefreshToken = first })
		time.Sleep(time.Second)
		if r := w.stored("a"); !r.RefreshToken.Equal(first) {
			t.Errorf("stored is %q", r.RefreshToken.Reveal())
		}
		_ = peer
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
		m := tokenstoretest.NewMemory()
		put(t, m, Account("a"))
		var writes atomic.Int32
		m.Before = func(op string, _ tokenstore.AccountID) error {
			if op == "swap" && writes.Add(1) == 2 { // the commit
				time.Sleep(61*time.Second + 300*time.Millisecond)
			}
			return nil
		}
		w := open(t, m, m, tokenstoretest.NewDriver())
		if res, err := w.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
			t.Fatalf("%+v, %v", res, err)
		}
		p := w.pick("r", nil)
		w.report(p, answer(200), nil)
		time.Sleep(61 * time.Second) // nobody takes it for healthy any more
		bystander := make(chan string)
		go func() {
			time.Sleep(100 * time.Millisecond)
			bystander <- w.pick("r", nil).Headers[0].Value
		}()
		d := w.report(p, answer(401), nil)
		if got := <-bystander; got != "Bearer at-2" {
			t.Errorf("another request got %q", got)
		}
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
				put(t, m, Account("a"))
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

// Both were cut off: the one that could not save is not taken for dead when they are back.
func TestAfterAnOutageTheHolderOfAClaimSavesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		p := &polled{Memory: m}
		peer, w := open(t, p, m, d), open(t, p, m, d) // the peer looks first
		peer.renew()
		time.Sleep(3 * time.Second)
		d.OnAnswer = func(context.Context, tokenstore.Record) error { // the provider has answered, nothing can be saved
			go func() { _, _ = peer.RefreshAccount(context.Background(), "a", true) }() // it sees the claim
			time.Sleep(time.Second)
			p.looks.Store(true)
			p.loads.Store(true)
			p.writes.Store(true)
			return nil
		}
		w.force("a", tokenstore.Refreshed)
		d.OnAnswer = nil
		time.Sleep(3 * time.Hour) // the old token is dead long since
		p.looks.Store(false)
		p.loads.Store(false)
		p.writes.Store(false)
		time.Sleep(time.Minute)
		if r := w.stored("a"); d.MostSpent() != 1 || r.RefreshToken.Reveal() == "rt-0" {
			t.Errorf("a refresh token was spent %d times; stored is %q", d.MostSpent(), r.RefreshToken.Reveal())
		}
	})
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
