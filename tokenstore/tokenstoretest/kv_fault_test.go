package tokenstoretest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func document(token string) map[string]any {
	return map[string]any{"provider": "p", "type": "oauth_refresh", "refresh_token": token}
}

func record(token string) tokenstore.Record {
	return tokenstore.Record{Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret(token)}
}

// tokenOf is the refresh token that is stored now.
func tokenOf(t *testing.T, engine *tokenstoretest.KV, id tokenstore.AccountID) string {
	t.Helper()
	v, ok := engine.Current(id)
	r, err := v.Record()
	if !ok || err != nil {
		t.Fatalf("%s: there %t, %v", id, ok, err)
	}
	return r.RefreshToken.Reveal()
}

func put(t *testing.T, engine *tokenstoretest.KV, ids ...tokenstore.AccountID) {
	t.Helper()
	for _, id := range ids {
		if _, err := engine.Put(id, document("old")); err != nil {
			t.Fatal(err)
		}
	}
}

// onWrites befalls writes alone.
func onWrites(f tokenstoretest.Fault) tokenstoretest.Injector {
	return func(op tokenstoretest.Op) tokenstoretest.Fault {
		if op.Kind != tokenstoretest.OpSwap {
			return tokenstoretest.Fault{}
		}
		return f
	}
}

func TestAFaultOfAWriteDoesWhatItSays(t *testing.T) {
	const s = time.Second
	lost, answerLost := tokenstoretest.RequestLost, tokenstoretest.AnswerLost
	late := context.DeadlineExceeded
	for name, c := range map[string]struct {
		fault   tokenstoretest.Fault
		patient time.Duration // how long the caller waits; 0: any time
		fails   bool
		cause   error         // that the error matches
		returns time.Duration // when
		stored  time.Duration // when; negative: never
	}{
		"none":                {},
		"the request is lost": {fault: tokenstoretest.Fault{Kind: lost}, fails: true, stored: -1},
		"lost after a while":  {fault: tokenstoretest.Fault{Kind: lost, Before: s}, fails: true, returns: s, stored: -1},
		"the answer is lost":  {fault: tokenstoretest.Fault{Kind: answerLost}, fails: true},
		"denied":              {fault: tokenstoretest.Fault{Kind: tokenstoretest.Denied}, fails: true, stored: -1},
		"a slow request":      {fault: tokenstoretest.Fault{Before: 2 * s}, returns: 2 * s, stored: 2 * s},
		"a slow answer":       {fault: tokenstoretest.Fault{After: 2 * s}, returns: 2 * s},
		"slow on both ways":   {fault: tokenstoretest.Fault{Before: s, After: s}, returns: 2 * s, stored: s},
		"a slow answer, lost": {fault: tokenstoretest.Fault{Kind: answerLost, After: s}, fails: true, returns: s},
		"slow and lost": {
			fault: tokenstoretest.Fault{Kind: answerLost, Before: s}, fails: true, returns: s, stored: s,
		},
		"hangs": {
			fault: tokenstoretest.Fault{Kind: tokenstoretest.Hangs}, fails: true, cause: late, returns: 5 * s, stored: -1,
		},
		"hangs, and the caller is in a hurry": {
			fault: tokenstoretest.Fault{Kind: tokenstoretest.Hangs}, patient: s,
			fails: true, cause: late, returns: s, stored: -1,
		},
		"slower than its limit": {
			fault: tokenstoretest.Fault{Before: 7 * s}, fails: true, cause: late, returns: 5 * s, stored: 7 * s,
		},
		"given up, and done later": {
			fault: tokenstoretest.Fault{Before: 3 * s}, patient: s, fails: true, cause: late, returns: s, stored: 3 * s,
		},
		"an answer over the limit": {
			fault: tokenstoretest.Fault{Before: 3 * s, After: 3 * s}, fails: true, cause: late, returns: 5 * s, stored: 3 * s,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
				put(t, engine, "a")
				began := time.Now()
				ctx := t.Context()
				if c.patient > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.patient)
					defer cancel()
				}
				client := engine.Client(tokenstoretest.ClientConfig{Faults: onWrites(c.fault)})
				_, err := client.CompareAndSwap(ctx, "a", record("new"), 1)
				if (err != nil) != c.fails || c.cause != nil && !errors.Is(err, c.cause) || errors.Is(err, tokenstore.ErrConflict) {
					t.Errorf("%v", err)
				}
				if at := time.Since(began); at != c.returns {
					t.Errorf("it returned after %v, want %v", at, c.returns)
				}
				time.Sleep(time.Minute)
				v, _ := engine.Current("a")
				switch at := v.Created.Sub(began).Truncate(time.Millisecond); {
				case c.stored < 0 && v.Number != 1:
					t.Errorf("it was stored after %v", at)
				case c.stored >= 0 && (tokenOf(t, engine, "a") != "new" || at != c.stored):
					t.Errorf("version %d was stored after %v, want the new one after %v", v.Number, at, c.stored)
				}
			})
		})
	}
}

// Its policy refuses to create: of a record that is gone the refusal must not hide that.
func TestAServiceCreatesNothingAndMeetsAConflictWhereARecordWas(t *testing.T) {
	engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
	put(t, engine, "a")
	service := engine.Client(tokenstoretest.ClientConfig{})
	if err := engine.DestroyMetadata("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := service.CompareAndSwap(t.Context(), "a", record("late"), 1); !errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("where a record was: %v", err)
	}
	_, err := service.CompareAndSwap(t.Context(), "a", record("new"), 0)
	if err == nil || errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("creating one: %v, want a refusal", err)
	}
	put(t, engine, "a")
	engine.Deny("a")
	_, err = service.CompareAndSwap(t.Context(), "a", record("new"), 1)
	if err == nil || errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("on a denied path: %v, want a refusal", err)
	}
	if ids := engine.IDs(); len(ids) != 1 || tokenOf(t, engine, "a") != "old" {
		t.Errorf("stored: %v", ids)
	}
}

// What was read first arrives last, as on two connections.
func TestAnAnswerThatIsSlowIsAsOldAsItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
		put(t, engine, "a")
		client := engine.Client(tokenstoretest.ClientConfig{Faults: func(op tokenstoretest.Op) tokenstoretest.Fault {
			if op.Seq == 1 {
				return tokenstoretest.Fault{After: 2 * time.Second}
			}
			return tokenstoretest.Fault{}
		}})
		answers := make(chan string, 2)
		load := func() {
			r, v, err := client.Load(t.Context(), "a")
			answers <- fmt.Sprintf("%s as version %d, %v", r.RefreshToken.Reveal(), v, err)
		}
		go load()
		time.Sleep(time.Second)
		if _, err := engine.Patch("a", map[string]any{"refresh_token": "new"}); err != nil {
			t.Fatal(err)
		}
		load()
		if first, second := <-answers, <-answers; first != "new as version 2, <nil>" || second != "old as version 1, <nil>" {
			t.Errorf("the first answer is %s, the second %s", first, second)
		}
	})
}

func TestAFaultOfOneAccountWithholdsItAndOneOfAllFailsTheListing(t *testing.T) {
	engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
	put(t, engine, "a", "b", "c", "d")
	denied := map[tokenstore.AccountID]bool{"a": true}
	client := engine.Client(tokenstoretest.ClientConfig{Faults: func(op tokenstoretest.Op) tokenstoretest.Fault {
		if denied[op.ID] {
			return tokenstoretest.Fault{Kind: tokenstoretest.Denied}
		}
		return tokenstoretest.Fault{}
	}})
	for _, ids := range [][]tokenstore.AccountID{{"a"}, {"a", "b"}, {"a", "b", "c"}} { // a neighbour may be denied as well
		for _, id := range ids {
			denied[id] = true
		}
		heads, err := client.List(t.Context())
		if err != nil || len(heads) != 4 || heads[0].Version != 0 || heads[3].Version != 1 {
			t.Fatalf("%v are denied: listed %v, %v", ids, heads, err)
		}
		if _, _, err := client.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrWithheld) {
			t.Errorf("%v are denied: %v", ids, err)
		}
	}
	denied["d"] = true
	if heads, err := client.List(t.Context()); err == nil || errors.Is(err, tokenstore.ErrWithheld) {
		t.Errorf("all are denied: listed %v, %v", heads, err)
	}
	if _, _, err := client.Load(t.Context(), "a"); err == nil || errors.Is(err, tokenstore.ErrWithheld) {
		t.Errorf("all are denied: %v", err)
	}
}

func TestWhileItIsSealedEverythingFailsAndWatchTellsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
		put(t, engine, "a")
		var told []string
		began := time.Now()
		tell := func(what string) { told = append(told, fmt.Sprint(what, " ", time.Since(began).Round(20*time.Second))) }
		client := engine.Client(tokenstoretest.ClientConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			good := false
			_ = client.Watch(ctx, func(id tokenstore.AccountID) { tell("changed " + string(id)) }, func(err error) {
				if ctx.Err() == nil && good != (err == nil) {
					good = err == nil
					tell(fmt.Sprint("good ", good))
				}
			})
		})
		time.Sleep(60 * time.Second)
		engine.Seal()
		_, putErr := engine.Put("a", document("new"))
		_, patchErr := engine.Patch("a", document("new"))
		_, rollErr := engine.Rollback("a", 1)
		_, swapErr := client.CompareAndSwap(ctx, "a", record("new"), 1)
		_, _, loadErr := client.Load(ctx, "a")
		for i, err := range []error{
			putErr, patchErr, rollErr, swapErr, loadErr, engine.SoftDelete("a"), engine.Undelete("a", 1), engine.Destroy("a", 1),
			engine.DestroyMetadata("a"), engine.DeleteVersionsAfter("a", time.Hour),
		} {
			if err == nil {
				t.Errorf("edit %d works", i)
			}
		}
		time.Sleep(60 * time.Second)
		engine.Unseal()
		if _, err := engine.Patch("a", map[string]any{"refresh_token": "new"}); err != nil {
			t.Error(err)
		}
		time.Sleep(60 * time.Second)
		cancel()
		group.Wait()
		want := []string{"changed a 0s", "good true 0s", "good false 1m0s", "changed a 2m0s", "good true 2m0s"}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAVersionEndsInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
		if err := engine.DeleteVersionsAfter("a", time.Hour); err != nil {
			t.Fatal(err)
		}
		put(t, engine, "a")
		client := engine.Client(tokenstoretest.ClientConfig{})
		r, _, err := client.Load(t.Context(), "a")
		if in := time.Until(r.Ends).Round(time.Second); err != nil || in != time.Hour {
			t.Errorf("it ends in %v, %v", in, err)
		}
		time.Sleep(time.Hour + time.Second)
		heads, listErr := client.List(t.Context())
		_, v, err := client.Load(t.Context(), "a")
		if listErr != nil || len(heads) != 1 || heads[0].Version != 0 || !errors.Is(err, tokenstore.ErrDeleted) || v != 1 {
			t.Errorf("after its end: listed %v, %v; loaded version %d, %v", heads, listErr, v, err)
		}
	})
}

// So that a fault that is placed by counting meets the same request each time.
func TestRequestsComeInTheSameOrderFromTheSameSeed(t *testing.T) {
	requests := func(seed uint64) (seen []string) {
		synctest.Test(t, func(t *testing.T) {
			engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{Seed: seed})
			put(t, engine, "a", "b", "c", "d", "e")
			engine.Deny("b", "c")
			began := time.Now()
			client := engine.Client(tokenstoretest.ClientConfig{Faults: func(op tokenstoretest.Op) tokenstoretest.Fault {
				seen = append(seen, fmt.Sprintf("%v: %d %s %s", time.Since(began), op.Seq, op.Kind, op.ID))
				return tokenstoretest.Fault{}
			}})
			if _, err := client.List(t.Context()); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			_ = client.Watch(ctx, func(tokenstore.AccountID) {}, func(error) {})
		})
		return seen
	}
	first := requests(7)
	if diff := cmp.Diff(first, requests(7)); diff != "" || len(first) < 100 {
		t.Errorf("%d requests; the second run differs:\n%s", len(first), diff)
	}
	if cmp.Equal(first, requests(8)) {
		t.Error("another seed makes the same pauses")
	}
}

func TestASnapshotIsNotChangedByWhatComesAfterIt(t *testing.T) {
	engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
	put(t, engine, "a", "b")
	before := engine.Snapshot()
	for range 2 {
		if err := errors.Join(engine.SoftDelete("a"), engine.Destroy("a", 1), engine.DestroyMetadata("b")); err != nil {
			t.Fatal(err)
		}
		put(t, engine, "c")
		engine.Restore(before)
		if v, _ := engine.Current("a"); v.Gone || tokenOf(t, engine, "a") != "old" {
			t.Errorf("restored: %+v", v)
		}
		if diff := cmp.Diff([]tokenstore.AccountID{"a", "b"}, engine.IDs()); diff != "" {
			t.Error(diff)
		}
	}
}

func BenchmarkKV(b *testing.B) {
	engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
	client := engine.Client(tokenstoretest.ClientConfig{Operator: true})
	v, err := client.CompareAndSwap(b.Context(), "a", record("rt"), 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			if v, err = client.CompareAndSwap(b.Context(), "a", record("rt"), v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := client.Load(b.Context(), "a"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			if _, err := client.List(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
