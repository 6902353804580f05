package tokenstoretest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// watcher runs one Watch and hands over what it reports.
type watcher struct {
	reports chan tokenstore.AccountID
	ended   chan error
	cancel  context.CancelFunc
}

// watch starts a watcher and returns when it is known to listen: what happens next must be reported.
func watch(t *testing.T, b tokenstore.Backend) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{reports: make(chan tokenstore.AccountID, 10_000), ended: make(chan error, 1), cancel: cancel}
	var inside atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.ended <- b.Watch(ctx, func(id tokenstore.AccountID) {
			if inside.Add(1) > 1 {
				t.Error("changed was called twice at once")
			}
			w.reports <- id
			inside.Add(-1)
		}, func(err error) {
			if inside.Load() > 0 {
				t.Error("looked was called beside changed")
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("a look for changes failed: %v", err)
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	deadline := time.After(patience)
	_, v, _ := b.Load(t.Context(), "probe")
	for {
		v = mustSwap(t, b, "probe", sample("rt"), v)
		select {
		case <-w.reports:
			return w
		case <-time.After(20 * time.Millisecond):
		case err := <-w.ended:
			t.Fatalf("Watch ended: %v", err)
		case <-deadline:
			t.Fatal("Watch reported nothing")
		}
	}
}

// wants waits for the report of account a; reports of others are allowed.
func (w *watcher) wants(t *testing.T, what string) {
	t.Helper()
	const id = "a"
	deadline := time.After(patience)
	for {
		select {
		case got := <-w.reports:
			if got == id {
				return
			}
		case err := <-w.ended:
			t.Fatalf("Watch ended: %v", err)
		case <-deadline:
			t.Fatalf("%s of %s was not reported", what, id)
		}
	}
}

func watchReports(t *testing.T, b tokenstore.Backend) {
	w := watch(t, b)
	v := mustSwap(t, b, "a", sample("rt"), 0)
	w.wants(t, "the creation")
	v = mustSwap(t, b, "a", sample("rt2"), v)
	w.wants(t, "the change")
	if err := b.Delete(t.Context(), "a", v); err != nil {
		t.Fatal(err)
	}
	w.wants(t, "the deletion")
	mustSwap(t, b, "a", sample("rt3"), 0)
	w.wants(t, "the creation anew")
}

func watchersHear(t *testing.T, b tokenstore.Backend) {
	first, second := watch(t, b), watch(t, b)
	mustSwap(t, b, "a", sample("rt"), 0)
	first.wants(t, "the creation")
	second.wants(t, "the creation")
}

func watchEnds(t *testing.T, b tokenstore.Backend) {
	w := watch(t, b)
	w.cancel()
	select {
	case err := <-w.ended:
		wantError(t, err, context.Canceled)
	case <-time.After(patience):
		t.Error("Watch goes on although its context ended")
	}
}
