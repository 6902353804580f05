package tokenstoretest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// corrupter is what a backend under test may offer to make a stored record undecodable.
type corrupter interface{ Corrupt(id tokenstore.AccountID) }

// patience bounds what the suite waits for; a conforming backend needs a fraction of it.
const patience = 20 * time.Second

// Trait is a documented weakness of a backend that the suite makes allowance for.
type Trait int

// VersionsRestart is the trait of a backend that counts from the start again when a record is deleted and created anew:
// an old version may then name another record, and only the record's incarnation tells them apart. Versions above the
// current one must be dead all the same.
const VersionsRestart Trait = 1

// Conformance holds a backend to the contract of tokenstore.Backend: each check is a subtest, on a backend of its own.
// open returns an empty backend and closes it with the test; when that has a method Corrupt(tokenstore.AccountID) which
// makes a stored record undecodable, unreadable records are checked too.
func Conformance(t *testing.T, open func(t *testing.T) tokenstore.Backend, traits ...Trait) {
	t.Helper()
	checks := map[string]func(*testing.T, tokenstore.Backend){
		"an empty backend lists nothing":                        listsNothing,
		"a record is read back as it was written":               readsBack,
		"unknown keys survive a rewrite":                        keepsExtra,
		"wrong keys survive a rewrite as they were written":     keepsSlips,
		"of an unusable record what can be read is given":       readsUnusable,
		"the listing has every record with its version":         listsHeads,
		"versions rise with every write":                        versionsRise,
		"a record that exists is not created again":             createsOnce,
		"a write with a stale version is a conflict":            refusesStale,
		"a write to a record that does not exist is a conflict": refusesMissing,
		"a missing record is not found":                         reportsMissing,
		"delete wants the current version":                      deletesCurrent,
		"a higher version is dead after delete and re-create":   noHigherVersion,
		"of 64 writers exactly one wins":                        oneWinner,
		"of 64 creators exactly one wins":                       oneCreator,
		"no increment of many writers is lost":                  losesNoIncrement,
		"a caller's record is not shared with the backend":      sharesNothing,
		"an unreadable record stops nothing else":               survivesCorruption,
		"an ended context is honoured":                          honoursContext,
		"watch reports creation, change and deletion":           watchReports,
		"every watcher hears of a change":                       watchersHear,
		"watch ends with its context":                           watchEnds,
	}
	if !slices.Contains(traits, VersionsRestart) {
		checks["an old version is dead after delete and re-create"] = noABA
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

func sample(token string) tokenstore.Record {
	return tokenstore.Record{Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret(token)}
}

func mustSwap(
	t *testing.T, b tokenstore.Backend, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version,
) tokenstore.Version {
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
	if _, _, err := b.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrNotFound) &&
		!errors.Is(err, tokenstore.ErrDeleted) {
		t.Errorf("loading a deleted record: %v, want ErrNotFound or ErrDeleted", err)
	}
	if got := heads(t, b); len(got) != 1 || got["other"] == 0 {
		t.Errorf("after the delete %v is listed, want only the other record", got)
	}
}

func noHigherVersion(t *testing.T, b tokenstore.Backend) {
	var old tokenstore.Version
	for range 3 {
		old = mustSwap(t, b, "a", sample("first"), old)
	}
	if err := b.Delete(t.Context(), "a", old); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	v := mustSwap(t, b, "a", sample("second"), 0)
	_, err := b.CompareAndSwap(t.Context(), "a", sample("late"), old)
	wantError(t, err, tokenstore.ErrConflict)
	wantError(t, b.Delete(t.Context(), "a", old), tokenstore.ErrConflict)
	wantStored(t, b, "a", "second", v)
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
	wantError(t, b.Watch(ctx, func(tokenstore.AccountID) {}, func(error) {}), context.Canceled)
	wantStored(t, b, "a", "rt", v)
}
