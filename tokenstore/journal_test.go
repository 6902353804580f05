package tokenstore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// crashed is what a process leaves that got a rotation and died before the backend took it.
type crashed struct {
	memory  *tokenstoretest.Memory
	driver  *tokenstoretest.Driver
	journal *tokenstoretest.Journal
}

func (c crashed) open(t *testing.T) *world {
	t.Helper()
	return open(t, c.memory, c.memory, c.driver, func(cfg *tokenstore.Config) { cfg.Journal = c.journal })
}

// crash refreshes account a, whose rotation the backend does not take, and ends the store.
func crash(t *testing.T) crashed {
	t.Helper()
	return crashWith(t, nil, tokenstore.Refreshed)
}

func crashWith(t *testing.T, grant func(*tokenstore.Grant), outcome tokenstore.RefreshOutcome) crashed {
	t.Helper()
	c := crashed{tokenstoretest.NewMemory(), tokenstoretest.NewDriver(), &tokenstoretest.Journal{}}
	c.driver.OnGrant = grant
	put(t, c.memory, Account("a"))
	var writes atomic.Int32
	c.memory.Before = func(op string, _ tokenstore.AccountID) error {
		if op == "swap" && writes.Add(1) > 1 {
			return errDown
		}
		return nil
	}
	w := c.open(t)
	w.force("a", outcome)
	if why := w.Degraded(); len(why) != 2 {
		t.Errorf("degraded: %q", why)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := w.Stop(ctx); err == nil {
		t.Error("the store stopped as if all was saved")
	}
	w.stop = func() {}
	synctest.Wait()
	c.memory.Before = nil
	return c
}

func (c crashed) left(t *testing.T) int {
	t.Helper()
	entries, err := c.journal.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestARotationThatWasNotSavedIsSavedByTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		if c.left(t) != 1 {
			t.Fatalf("%d entries in the journal", c.left(t))
		}
		w := c.open(t)
		r := w.stored("a")
		if r.RefreshToken.Reveal() != "rt-1" || r.Rotation.Claim != nil || c.left(t) != 0 || c.driver.Calls() != 1 {
			t.Errorf("stored %+v, %d entries left, %d grants", r.Rotation, c.left(t), c.driver.Calls())
		}
		if p := w.pick("r", nil); p.Headers[0].Value != "Bearer at-1" {
			t.Error("the old token is picked")
		}
		w.force("a", tokenstore.Refreshed)
		if c.driver.MostSpent() != 1 {
			t.Error("a refresh token was spent twice")
		}
	})
}

func TestAJournalledRotationIsKeptOnTopOfAnOperatorsEdit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		edit(t, c.memory, "a", func(r *tokenstore.Record) { r.Labels = map[string]string{"team": "x"} })
		w := c.open(t)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || r.Labels["team"] != "x" {
			t.Errorf("stored %v %+v", r.Labels, r.Rotation)
		}
	})
}

func TestAJournalledRotationYieldsToANewCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		edit(t, c.memory, "a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("theirs") })
		w := c.open(t)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "theirs" || c.left(t) != 0 {
			t.Errorf("the operator's credential was overwritten, or %d entries are left", c.left(t))
		}
	})
}

func TestAJournalledRotationReplacesWhatItSpentInWhicheverIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		// kv put of what was read before
		edit(t, c.memory, "a", func(r *tokenstore.Record) { r.Rotation = tokenstore.Rotation{} })
		w := c.open(t)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || c.left(t) != 0 {
			t.Errorf("the spent credential is still there, or %d entries are left", c.left(t))
		}
	})
}

func TestAJournalledRotationReplacesAnOlderSpentCredentialToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		r, v, _ := c.memory.Load(t.Context(), "a")
		entries, _ := c.journal.Entries()
		e := entries[0]
		e.Record.Rotation.Spent = append(
			[]string{tokenstore.Fingerprint("a", tokenstore.NewSecret("rt-older"))},
			e.Record.Rotation.Spent...)
		_ = c.journal.Append(e)
		// a snapshot from before two rotations
		r.RefreshToken, r.Rotation = tokenstore.NewSecret("rt-older"), tokenstore.Rotation{}
		if _, err := c.memory.CompareAndSwap(t.Context(), "a", r, v); err != nil {
			t.Fatal(err)
		}
		w := c.open(t)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || c.left(t) != 0 {
			t.Errorf("stored is %q, %d entries are left", r.RefreshToken.Reveal(), c.left(t))
		}
	})
}

func TestTheJournalledRotationOfAnAccountThatIsGoneWaitsAWeekForItToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		r, v, _ := c.memory.Load(t.Context(), "a")
		if err := c.memory.Delete(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		w := c.open(t)
		if _, err := w.Status("a"); err == nil || c.left(t) != 1 || w.metric("unsaved_rotations") != 0 {
			t.Errorf("status error %v, %d entries left", err, c.left(t))
		}
		w.stop()
		w = c.open(t)
		if _, err := c.memory.CompareAndSwap(t.Context(), "a", r, 0); err != nil { // the mount is back
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || c.left(t) != 0 {
			t.Errorf("the spent credential is back, or %d entries are left", c.left(t))
		}
		w.force("a", tokenstore.Refreshed)
		if c.driver.MostSpent() != 1 {
			t.Error("a refresh token was spent twice")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		_, v, _ := c.memory.Load(t.Context(), "a")
		if err := c.memory.Delete(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * 24 * time.Hour)
		if c.open(t); c.left(t) != 0 {
			t.Errorf("after a week %d entries are left", c.left(t))
		}
	})
}

func TestAJournalEntryWhoseRotationWasSavedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		entries, _ := c.journal.Entries()
		c.open(t).stop()
		_ = c.journal.Append(entries[0]) // as if the machine had crashed before the entry was removed
		w := c.open(t)
		v := w.status("a").Version
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || c.left(t) != 0 || v != w.status("a").Version {
			t.Errorf("%d entries left", c.left(t))
		}
	})
}

func TestARecordThatIsDeletedForNowKeepsItsRotationWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crash(t)
		var deleted atomic.Bool
		deleted.Store(true)
		c.memory.Before = func(op string, _ tokenstore.AccountID) error {
			switch {
			case deleted.Load() && op == "load":
				return tokenstore.ErrDeleted
			case deleted.Load() && op == "swap":
				return tokenstore.ErrConflict
			}
			return nil
		}
		w := c.open(t)
		time.Sleep(time.Minute)
		if st := w.status("a"); st.State != tokenstore.StatePaused || st.Routable || c.left(t) != 1 ||
			w.metric("unsaved_rotations") != 1 {
			t.Errorf("%s (%s), routable %t, %d entries, %v unsaved", st.State, st.Reason, st.Routable, c.left(t), w.metric("unsaved_rotations"))
		}
		deleted.Store(false)
		time.Sleep(10 * time.Second)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || c.left(t) != 0 ||
			w.status("a").State != tokenstore.StateActive {
			t.Errorf("after the undelete: %s, %d entries", w.status("a").State, c.left(t))
		}
	})
}
