package tokenstoretest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
)

// corrupter is what a backend under test may offer to make a stored record undecodable.
type corrupter interface{ Corrupt(id tokenstore.AccountID) }

// patience bounds what the suite waits for; a conforming backend needs a fraction of it.
const patience = 20 * time.Second

// testBackend holds a backend to the contract of tokenstore.Backend. open returns an empty one and closes it with the test.
func testBackend(t *testing.T, open func(t *testing.T) tokenstore.Backend) {
	for name, check := range map[string]func(*testing.T, tokenstore.Backend){
		"an empty backend lists nothing":                        listsNothing,
		"a record is read back as it was written":               readsBack,
		"unknown keys survive a rewrite":                        keepsExtra,
		"the listing has every record with its version":         listsHeads,
		"versions rise with every write":                        versionsRise,
		"a record that exists is not created again":             createsOnce,
		"a write with a stale version is a conflict":            refusesStale,
		"a write to a record that does not exist is a conflict": refusesMissing,
		"a missing record is not found":                         reportsMissing,
		"delete wants the current version":                      deletesCurrent,
		"an old version is dead after delete and re-create":     noABA,
		"of 64 writers exactly one wins":                        oneWinner,
		"of 64 creators exactly one wins":                       oneCreator,
		"no increment of many writers is lost":                  losesNoIncrement,
		"a caller's record is not shared with the backend":      sharesNothing,
		"an unreadable record stops nothing else":               survivesCorruption,
		"an ended context is honoured":                          honoursContext,
		"watch reports creation, change and deletion":           watchReports,
		"every watcher hears of a change":                       watchersHear,
		"watch ends with its context":                           watchEnds,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

func sample(token string) tokenstore.Record {
	return tokenstore.Record{Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret(token)}
}

func mustSwap(t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version) tokenstore.Version {
	t.Helper()
	v, err := b.CompareAndSwap(t.Context(), id, r, expect)
	if err != nil {
		t.Fatalf("CompareAndSwap(%s, %d): %v", id, expect, err)
	}
	return v
}

func mustLoad(t *testing.T, b tokenstore.Backend, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version) {
	t.Helper()
	r, v, err := b.Load(t.Context(), id)
	if err != nil {
		t.Fatalf("Load(%s): %v", id, err)
	}
	return r, v
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want one that matches %v", err, want)
	}
}

func heads(t *testing.T, b tokenstore.Backend) map[tokenstore.AccountID]tokenstore.Version {
	t.Helper()
	list, err := b.List(t.Context())
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	m := map[tokenstore.AccountID]tokenstore.Version{}
	for _, h := range list {
		if _, twice := m[h.ID]; twice {
			t.Errorf("%s is listed twice", h.ID)
		}
		m[h.ID] = h.Version
	}
	return m
}

func listsNothing(t *testing.T, b tokenstore.Backend) {
	if got := heads(t, b); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
}

func readsBack(t *testing.T, b tokenstore.Backend) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 891_000_000, time.UTC)
	want := tokenstore.Record{
		Provider: "p", Pools: []string{"a", "b"}, Tenant: "t", Labels: map[string]string{"k": "v"}, State: tokenstore.Paused,
		Kind: tokenstore.KindOAuthRefresh, ClientID: "c", ClientSecret: tokenstore.NewSecret("cs"), RefreshToken: tokenstore.NewSecret("rt"),
		APIKey: tokenstore.NewSecret("ak"), Scope: "s", AccessToken: tokenstore.NewSecret("at"), TokenType: "Bearer", ExpiresAt: at.Add(time.Hour), ObtainedAt: at,
		Rotation: tokenstore.Rotation{
			Incarnation: "i", Generation: 3, WriteID: "w", Writer: "h",
			Claim: &tokenstore.Claim{AttemptID: "a", Holder: "h", StartedAt: at}, Last: &tokenstore.Outcome{At: at, Trigger: "schedule", Result: "succeeded"},
		},
	}
	v := mustSwap(t, b, "full.record_1", want, 0)
	got, at2 := mustLoad(t, b, "full.record_1")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
	if v == 0 || at2 != v {
		t.Errorf("stored as version %d, loaded as %d; want the same, not 0", v, at2)
	}
}

func keepsExtra(t *testing.T, b tokenstore.Backend) {
	r := sample("rt")
	r.Extra = map[string]json.RawMessage{"limits": json.RawMessage(`{"rpm":60}`), "note": json.RawMessage(`"x"`)}
	v := mustSwap(t, b, "a", r, 0)
	got, _ := mustLoad(t, b, "a")
	mustSwap(t, b, "a", got, v)
	got, _ = mustLoad(t, b, "a")
	if diff := cmp.Diff(r.Extra, got.Extra); diff != "" {
		t.Errorf("unknown keys differ (-want +got):\n%s", diff)
	}
}

func listsHeads(t *testing.T, b tokenstore.Backend) {
	want := map[tokenstore.AccountID]tokenstore.Version{}
	for i := range 20 {
		id := tokenstore.AccountID(fmt.Sprintf("account-%d", i))
		want[id] = mustSwap(t, b, id, sample("rt"), 0)
	}
	want["account-7"] = mustSwap(t, b, "account-7", sample("rt2"), want["account-7"])
	if diff := cmp.Diff(want, heads(t, b)); diff != "" {
		t.Errorf("heads differ (-want +got):\n%s", diff)
	}
}

func versionsRise(t *testing.T, b tokenstore.Backend) {
	var last tokenstore.Version
	for range 5 {
		v := mustSwap(t, b, "a", sample("rt"), last) // the same content: still a new version
		if v <= last {
			t.Fatalf("version %d follows %d", v, last)
		}
		last = v
	}
}

func createsOnce(t *testing.T, b tokenstore.Backend) {
	v := mustSwap(t, b, "a", sample("first"), 0)
	_, err := b.CompareAndSwap(t.Context(), "a", sample("second"), 0)
	wantError(t, err, tokenstore.ErrConflict)
	wantStored(t, b, "a", "first", v)
}

func refusesStale(t *testing.T, b tokenstore.Backend) {
	old := mustSwap(t, b, "a", sample("first"), 0)
	v := mustSwap(t, b, "a", sample("second"), old)
	for _, wrong := range []tokenstore.Version{old, v + 1} {
		_, err := b.CompareAndSwap(t.Context(), "a", sample("third"), wrong)
		wantError(t, err, tokenstore.ErrConflict)
	}
	wantStored(t, b, "a", "second", v)
}

func wantStored(t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, token string, v tokenstore.Version) {
	t.Helper()
	r, at := mustLoad(t, b, id)
	if r.RefreshToken.Reveal() != token || at != v {
		t.Errorf("%s holds %q at version %d, want %q at %d", id, r.RefreshToken.Reveal(), at, token, v)
	}
}

func refusesMissing(t *testing.T, b tokenstore.Backend) {
	_, err := b.CompareAndSwap(t.Context(), "a", sample("rt"), 1)
	wantError(t, err, tokenstore.ErrConflict)
	if got := heads(t, b); len(got) != 0 {
		t.Errorf("the refused write left %v", got)
	}
}

func reportsMissing(t *testing.T, b tokenstore.Backend) {
	_, v, err := b.Load(t.Context(), "nobody")
	wantError(t, err, tokenstore.ErrNotFound)
	if v != 0 {
		t.Errorf("version %d of a record that does not exist", v)
	}
	wantError(t, b.Delete(t.Context(), "nobody", 1), tokenstore.ErrNotFound)
}

func deletesCurrent(t *testing.T, b tokenstore.Backend) {
	old := mustSwap(t, b, "a", sample("first"), 0)
	v := mustSwap(t, b, "a", sample("second"), old)
	mustSwap(t, b, "other", sample("rt"), 0)
	wantError(t, b.Delete(t.Context(), "a", old), tokenstore.ErrConflict)
	wantStored(t, b, "a", "second", v)
	if err := b.Delete(t.Context(), "a", v); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if _, _, err := b.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrNotFound) && !errors.Is(err, tokenstore.ErrDeleted) {
		t.Errorf("loading a deleted record: %v, want ErrNotFound or ErrDeleted", err)
	}
	if got := heads(t, b); len(got) != 1 || got["other"] == 0 {
		t.Errorf("after the delete %v is listed, want only the other record", got)
	}
}

func noABA(t *testing.T, b tokenstore.Backend) {
	old := mustSwap(t, b, "a", sample("first"), 0)
	if err := b.Delete(t.Context(), "a", old); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	v := mustSwap(t, b, "a", sample("second"), 0)
	_, err := b.CompareAndSwap(t.Context(), "a", sample("late"), old)
	wantError(t, err, tokenstore.ErrConflict)
	wantError(t, b.Delete(t.Context(), "a", old), tokenstore.ErrConflict)
	wantStored(t, b, "a", "second", v)
}

func oneWinner(t *testing.T, b tokenstore.Backend) {
	race(t, b, mustSwap(t, b, "a", sample("start"), 0))
}

func oneCreator(t *testing.T, b tokenstore.Backend) { race(t, b, 0) }

// race lets 64 writers swap account a from one version at once.
func race(t *testing.T, b tokenstore.Backend, from tokenstore.Version) {
	const writers = 64
	var (
		start   = make(chan struct{})
		group   sync.WaitGroup
		mu      sync.Mutex // guards winners
		winners = map[string]tokenstore.Version{}
	)
	for i := range writers {
		group.Go(func() {
			token := fmt.Sprintf("writer-%d", i)
			<-start
			v, err := b.CompareAndSwap(t.Context(), "a", sample(token), from)
			if err == nil {
				mu.Lock()
				winners[token] = v
				mu.Unlock()
				return
			}
			wantError(t, err, tokenstore.ErrConflict)
		})
	}
	close(start)
	group.Wait()
	if len(winners) != 1 {
		t.Fatalf("%d writers won: %v", len(winners), winners)
	}
	for token, v := range winners {
		wantStored(t, b, "a", token, v)
	}
}

func losesNoIncrement(t *testing.T, b tokenstore.Backend) {
	const writers, each = 8, 10
	mustSwap(t, b, "a", sample("rt"), 0)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				if err := increment(t.Context(), b, "a"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	r, _ := mustLoad(t, b, "a")
	if r.Rotation.Generation != writers*each {
		t.Errorf("%d increments were acknowledged, %d are stored", writers*each, r.Rotation.Generation)
	}
}

func increment(ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID) error {
	for {
		r, v, err := b.Load(ctx, id)
		if err != nil {
			return err
		}
		r.Rotation.Generation++
		if _, err = b.CompareAndSwap(ctx, id, r, v); !errors.Is(err, tokenstore.ErrConflict) {
			return err
		}
	}
}

func sharesNothing(t *testing.T, b tokenstore.Backend) {
	r := sample("rt")
	r.Labels = map[string]string{"k": "before"}
	mustSwap(t, b, "a", r, 0)
	r.Labels["k"] = "after"
	first, _ := mustLoad(t, b, "a")
	first.Labels["other"] = "x"
	second, _ := mustLoad(t, b, "a")
	if diff := cmp.Diff(map[string]string{"k": "before"}, second.Labels); diff != "" {
		t.Errorf("labels differ (-want +got):\n%s", diff)
	}
}

func survivesCorruption(t *testing.T, b tokenstore.Backend) {
	c, ok := b.(corrupter)
	if !ok {
		t.Skip("the backend offers no way to spoil a record")
	}
	mustSwap(t, b, "bad", sample("rt"), 0)
	good := mustSwap(t, b, "good", sample("rt"), 0)
	c.Corrupt("bad")
	_, v, err := b.Load(t.Context(), "bad")
	wantError(t, err, tokenstore.ErrUnreadable)
	if got := heads(t, b); v == 0 || got["bad"] != v || got["good"] != good {
		t.Errorf("listed %v; the unreadable record loads as version %d, the other is version %d", got, v, good)
	}
	wantStored(t, b, "good", "rt", good)
	wantStored(t, b, "bad", "mended", mustSwap(t, b, "bad", sample("mended"), v))
}

func honoursContext(t *testing.T, b tokenstore.Backend) {
	v := mustSwap(t, b, "a", sample("rt"), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.List(ctx)
	wantError(t, err, context.Canceled)
	_, _, err = b.Load(ctx, "a")
	wantError(t, err, context.Canceled)
	_, err = b.CompareAndSwap(ctx, "a", sample("late"), v)
	wantError(t, err, context.Canceled)
	wantError(t, b.Delete(ctx, "a", v), context.Canceled)
	wantError(t, b.Watch(ctx, func(tokenstore.AccountID) {}), context.Canceled)
	wantStored(t, b, "a", "rt", v)
}

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

// wants waits for the report of one account; reports of others are allowed.
func (w *watcher) wants(t *testing.T, id tokenstore.AccountID, what string) {
	t.Helper()
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
	w.wants(t, "a", "the creation")
	v = mustSwap(t, b, "a", sample("rt2"), v)
	w.wants(t, "a", "the change")
	if err := b.Delete(t.Context(), "a", v); err != nil {
		t.Fatal(err)
	}
	w.wants(t, "a", "the deletion")
	mustSwap(t, b, "a", sample("rt3"), 0)
	w.wants(t, "a", "the creation anew")
}

func watchersHear(t *testing.T, b tokenstore.Backend) {
	first, second := watch(t, b), watch(t, b)
	mustSwap(t, b, "a", sample("rt"), 0)
	first.wants(t, "a", "the creation")
	second.wants(t, "a", "the creation")
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
