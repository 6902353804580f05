package tokenstore_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// polled is a backend that looks for changes every second, as Vault's does, and can be taken away.
type polled struct {
	*tokenstoretest.Memory
	looks, loads, writes atomic.Bool // what fails
}

var errAway = errors.New("away")

func (p *polled) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	if p.loads.Load() {
		return tokenstore.Record{}, 0, errAway
	}
	return p.Memory.Load(ctx, id)
}

func (p *polled) CompareAndSwap(
	ctx context.Context, id tokenstore.AccountID, r tokenstore.Record, v tokenstore.Version,
) (tokenstore.Version, error) {
	if p.writes.Load() {
		return 0, errAway
	}
	return p.Memory.CompareAndSwap(ctx, id, r, v)
}

func (p *polled) Watch(ctx context.Context, changed func(tokenstore.AccountID), looked func(error)) error {
	seen := map[tokenstore.AccountID]tokenstore.Version{}
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return ctx.Err()
		case <-tick.C:
		}
		if p.looks.Load() {
			looked(errAway)
			continue
		}
		heads, _ := p.List(ctx)
		for _, h := range heads {
			if seen[h.ID] != h.Version {
				changed(h.ID)
			}
			seen[h.ID] = h.Version
		}
		looked(nil)
	}
}

func degraded(w *world) bool {
	return strings.Contains(strings.Join(w.Degraded(), ";"), "the store ")
}

func openPolled(t *testing.T) (*world, *polled) {
	t.Helper()
	m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
	put(t, m, Account("a"))
	p := &polled{Memory: m}
	return open(t, p, m, d), p
}

func TestAStoreThatNobodyUsesIsSeenToGoAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := openPolled(t)
		time.Sleep(3 * time.Second)
		if degraded(w) {
			t.Fatal("degraded from the start")
		}
		p.looks.Store(true)
		time.Sleep(2 * time.Second)
		if !degraded(w) {
			t.Error("nobody noticed")
		}
		p.looks.Store(false)
		time.Sleep(2 * time.Second)
		if degraded(w) {
			t.Error("nobody noticed that it is back")
		}
	})
}

func TestAChangeThatCouldNotBeReadIsReadSoonAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := openPolled(t)
		time.Sleep(3 * time.Second)
		p.loads.Store(true)
		edit(t, p.Memory, "a", func(r *tokenstore.Record) { r.State = tokenstore.Paused })
		time.Sleep(2 * time.Second)
		p.loads.Store(false)
		time.Sleep(11 * time.Second)
		if st := w.status("a").State; st != tokenstore.StatePaused {
			t.Errorf("the paused account is %s", st)
		}
	})
}

func TestAFailedWriteIsForgottenOnceItsRetriesWouldHaveShownMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := openPolled(t)
		time.Sleep(3 * time.Second)
		p.writes.Store(true)
		w.force("a", tokenstore.Failed)
		p.writes.Store(false)
		time.Sleep(30 * time.Second)
		if !degraded(w) {
			t.Error("a look for changes hides that writes fail")
		}
		if why := w.Degraded(); !strings.Contains(why[0], "did not take the latest write") {
			t.Errorf("degraded: %q", why)
		}
		time.Sleep(6 * time.Minute)
		if degraded(w) {
			t.Error("a write that nobody needs to repeat is held against the store")
		}
	})
}
