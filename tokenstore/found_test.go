package tokenstore_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// What the simulation found. Each history is the shortest one, told by hand: a seed would mean another one tomorrow.

func record(t *testing.T, c crashed) tokenstore.Record {
	t.Helper()
	r, _, err := c.memory.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stuck is a store whose account a has a rotation that the backend does not take until it heals.
func stuck(t *testing.T) (w *world, heal func()) {
	t.Helper()
	var healed atomic.Bool
	w = newStore(t, Account("a"))
	w.memory.Before = func(op string, _ tokenstore.AccountID) error {
		if op == "swap" && w.driver.Calls() > 0 && !healed.Load() {
			return errDown
		}
		return nil
	}
	return w, func() { healed.Store(true) }
}

func TestAForcedRefreshDoesNotWaitForARotationThatTheStoreDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, heal := stuck(t)
		w.force("a", tokenstore.Refreshed)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if r, err := w.RefreshAccount(ctx, "a", true); err != nil || r.Outcome != tokenstore.Failed ||
			time.Since(began) != 0 {
			t.Errorf("after %s: %+v, %v", time.Since(began), r, err)
		}
		heal()
		time.Sleep(time.Minute)
	})
}

func TestAPickDoesNotSpinWhereAForcedRefreshWaitsBehindARotationThatIsNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, heal := stuck(t)
		c.stop()
		edit(t, c.memory, "a", expired)
		c.driver.OnGrant = func(g *tokenstore.Grant) { g.AccessToken = tokenstore.NewSecret("broken\r\ntoken") }
		slow := &tokenstoretest.Journal{Before: func() error {
			time.Sleep(time.Second)
			return nil
		}}
		w := open(t, c.memory, c.memory, c.driver, func(cfg *tokenstore.Config) { cfg.Journal = slow })
		w.force("a", tokenstore.Failed)
		go func() { _, _ = w.RefreshAccount(t.Context(), "a", true) }() // the first has ended, and is being journalled
		time.Sleep(2 * time.Second)
		began := time.Now()
		if _, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "r"}); err == nil || time.Since(began) != 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		heal()
		time.Sleep(time.Minute)
	})
}

func TestAClaimThatANewCredentialCameOnTopOfDoesNotSpendIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.memory.After = func(tokenstore.AccountID) error {
			w.memory.After = nil
			edit(t, w.memory, "a", func(r *tokenstore.Record) {
				r.RefreshToken = tokenstore.NewSecret("theirs")
			}) // kv patch: our claim stays in it
			return errDown
		}
		w.force("a", tokenstore.Refreshed)
		time.Sleep(time.Minute)
		if w.driver.MostSpent() != 1 || w.stored("a").RefreshToken.Reveal() != "rt-1" {
			t.Errorf("a token was spent %d times, %q is stored", w.driver.MostSpent(), w.stored("a").RefreshToken.Reveal())
		}
	})
}

func TestARotationFromTheJournalThatBroughtNoRefreshTokenLeavesAnothersClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		entries, _ := c.journal.Entries()
		e := entries[0]
		e.Record.RefreshToken, e.Record.Rotation.Spent = record(t, c).RefreshToken, nil
		_ = c.journal.Append(e)
		edit(t, c.memory, "a", func(r *tokenstore.Record) {
			r.Rotation.Claim = &tokenstore.Claim{AttemptID: "theirs", Holder: "peer", Fingerprint: e.Spent}
		})
		w := c.open(t)
		if got := w.stored("a").Rotation.Claim; got == nil || got.AttemptID != "theirs" || c.left(t) != 0 {
			t.Errorf("claim %+v, %d entries are left", got, c.left(t))
		}
	})
}

func TestOfTwoJournalledRotationsOfAnAccountThatIsGoneTheLatestLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		r, v, _ := c.memory.Load(t.Context(), "a")
		entries, _ := c.journal.Entries()
		later := entries[0]
		later.Attempt, later.Spent = "later", tokenstore.Fingerprint("a", tokenstore.NewSecret("rt-1"))
		later.Record = later.Record.Clone()
		later.Record.RefreshToken = tokenstore.NewSecret("rt-2")
		later.Record.Rotation.Generation++
		later.Record.Rotation.Spent = append(later.Record.Rotation.Spent, later.Spent)
		_ = c.journal.Append(later)
		if err := c.memory.Delete(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		w := c.open(t)
		r.RefreshToken, r.Rotation.Claim = tokenstore.NewSecret("rt-1"), nil
		if _, err := c.memory.CompareAndSwap(t.Context(), "a", r, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := w.stored("a").RefreshToken.Reveal(); got != "rt-2" || c.left(t) != 0 {
			t.Errorf("stored is %q, %d entries are left", got, c.left(t))
		}
	})
}

func TestTheLivingCredentialIsTheFormerOneWhereTheRecordShowsASpentOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		mood := moody(w.driver)
		w.force("a", tokenstore.Refreshed)
		edit(t, w.memory, "a", func(r *tokenstore.Record) { // a snapshot from when a bad credential had just been given
			r.Former = &tokenstore.Former{Kind: r.Kind, RefreshToken: tokenstore.NewSecret("rt-of-a"), Since: time.Now()}
			r.RefreshToken, r.Rotation.Generation, r.Rotation.Spent = tokenstore.NewSecret("bad"), 0, nil
		})
		w.renew()
		time.Sleep(time.Minute)
		mood.Store("up")
		if got := w.stored("a").RefreshToken.Reveal(); got == "bad" || w.driver.MostSpent() != 1 {
			t.Errorf("stored is %q, a token was spent %d times", got, w.driver.MostSpent())
		}
	})
}

func TestAFormerCredentialComesBackThoughAnotherProcessFoundTheNewOneDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.force("a", tokenstore.Refreshed)
		edit(t, w.memory, "a", func(r *tokenstore.Record) { // by another process, which does not know rt-1
			r.RefreshToken = tokenstore.NewSecret("bad")
			dead := tokenstore.Fingerprint("a", r.RefreshToken)
			r.Rotation.Dead = &tokenstore.Dead{Fingerprint: dead, At: time.Now(), Error: "invalid_grant"}
		})
		w.renew()
		time.Sleep(time.Minute)
		if got := w.stored("a").RefreshToken.Reveal(); got != "rt-1" && got != "rt-2" {
			t.Errorf("stored is %q", got)
		}
	})
}

func TestAFormerCredentialKeepsTheClaimOfARefreshThatWasUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		moody(w.driver)
		theirs := &tokenstore.Claim{AttemptID: "theirs", Holder: "peer", Fingerprint: tokenstore.Fingerprint("a",
			w.stored("a").RefreshToken)}
		edit(t, w.memory, "a", func(r *tokenstore.Record) {
			// a peer claims it, and an operator's edit comes on top before anybody looks
			r.Rotation.Claim, r.RefreshToken = theirs, tokenstore.NewSecret("bad")
		})
		w.renew()
		time.Sleep(2 * time.Minute)
		r := w.stored("a")
		if r.RefreshToken.Reveal() != "rt-of-a" || r.Rotation.Claim == nil || r.Rotation.Claim.AttemptID != "theirs" ||
			w.driver.MostSpent() > 0 {
			t.Errorf("stored is %q with claim %+v", r.RefreshToken.Reveal(), r.Rotation.Claim)
		}
	})
}

func TestARotationFromTheJournalIsTheFormerCredentialOfABadOneThatCameOnTopOfItsSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		c.memory.After = func(tokenstore.AccountID) error {
			c.memory.After = nil
			edit(t, c.memory, "a", func(r *tokenstore.Record) {
				r.RefreshToken = tokenstore.NewSecret("theirs")
			}) // kv patch: our write's id stays in it
			return errDown
		}
		c.driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
			if r.RefreshToken.Reveal() == "theirs" {
				return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
			}
			return nil
		}
		w := c.open(t)
		w.renew()
		time.Sleep(2 * time.Minute)
		if st := w.status("a"); st.State != tokenstore.StateActive || w.stored("a").RefreshToken.Reveal() == "theirs" {
			t.Errorf("it is %s: %s", st.State, st.Reason)
		}
	})
}

func TestARefreshGoesOnWhereItsRecordLosesItsProviderDuringTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		w.memory.After = func(tokenstore.AccountID) error {
			w.memory.After = nil
			w.memory.Patch("a", map[string]json.RawMessage{"provider": json.RawMessage(`""`)}) // our claim stays in it
			return errDown
		}
		w.force("a", tokenstore.Refreshed)
		w.force("b", tokenstore.Refreshed)
		time.Sleep(time.Minute)
		if r := w.memory.Document("a"); string(r["refresh_token"]) != `"rt-1"` && string(r["refresh_token"]) != `"rt-2"` {
			t.Errorf("the rotation is not saved: %s", r["refresh_token"])
		}
	})
}

// panicking is a driver whose headers cannot be made.
type panicking struct {
	*tokenstoretest.Driver
	from int32 // grants before it begins
}

func (d panicking) Headers(r tokenstore.Record) []tokenstore.Header {
	if d.Calls() > int(d.from) {
		panic("no headers")
	}
	return d.Driver.Headers(r)
}

func TestADriverThatPanicsCostsOneRefreshAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"), Account("b"))
		w := open(t, m, m, d, func(c *tokenstore.Config) {
			c.Drivers = map[string]tokenstore.Driver{"p": panicking{d, 0}}
		})
		w.force("a", tokenstore.Failed)
		if st := w.status("a"); st.ID != "a" {
			t.Errorf("its status is %+v", st)
		}
		if p := w.pick("r", nil); p.Account == "" {
			t.Error("nobody serves")
		}
		if n := w.metric("panics_total"); n == 0 {
			t.Error("the panic is not counted")
		}
	})
}
