package vault_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestWhatOperatorsWriteWithVaultKVIsRead(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	f.kv(t, []string{"put"}, "a", "provider=p", "type=oauth_refresh", "pools=a, b", `labels={"team":"x"}`, "expires_at=2026-01-02T03:04:05Z", "refresh_token=rt", "access_token=at")
	got, v, err := b.Load(t.Context(), "a")
	if err != nil || v != 1 {
		t.Fatalf("version %d, %v", v, err)
	}
	want := sample("rt")
	want.Pools, want.Labels = []string{"a", "b"}, map[string]string{"team": "x"}
	want.ExpiresAt, want.AccessToken = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), tokenstore.NewSecret("at")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
}

// Numbers pass through Vault as double precision floats (seen with 1.21): what is longer must be a string.
// Vault keeps numbers as floating point: a longer one comes back as another client's id.
func TestANumberAsClientIDIsReadWithAllItsDigitsOrNotAtAll(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	for value, want := range map[any]string{
		json.Number("4711"): "4711", json.Number("9007199254740991"): "9007199254740991", json.Number("9007199254740993"): "",
		json.Number("18446744073709551615"): "", json.Number("4711471147114711471147"): "", "4711471147114711471147": "4711471147114711471147",
	} {
		data := map[string]any{"data": map[string]any{"provider": "p", "type": "oauth_refresh", "client_id": value}}
		_, err := f.Root.Logical().WriteWithContext(t.Context(), f.cfg.Mount+"/data/"+f.cfg.Prefix+"/a", data)
		must(t, err)
		r, _, err := b.Load(t.Context(), "a")
		if err != nil || r.ClientID != want || r.Slipped("client_id") != (want == "") {
			t.Errorf("%v: %q, %v, %v", value, r.ClientID, r.Slips, err)
		}
	}
}

func TestUnknownKeysAreKeptThroughVault(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	r := sample("rt")
	r.Extra = map[string]json.RawMessage{
		"number": json.RawMessage(`60`), "big": json.RawMessage(`"12345678901234567890"`), "list": json.RawMessage(`[1,{"a":null,"b":true}]`), "text": json.RawMessage(`"ä\n"`),
	}
	v, err := b.CompareAndSwap(t.Context(), "a", r, 0)
	must(t, err)
	got, _, err := b.Load(t.Context(), "a")
	must(t, err)
	if diff := cmp.Diff(r.Extra, got.Extra); diff != "" {
		t.Errorf("unknown keys differ (-want +got):\n%s", diff)
	}
	f.kv(t, []string{"patch"}, "a", "note=by hand")
	got, v2, err := b.Load(t.Context(), "a")
	must(t, err)
	_, err = b.CompareAndSwap(t.Context(), "a", got, v2)
	must(t, err)
	if out := f.kv(t, []string{"get", "-field=note"}, "a"); v2 != v+1 || strings.TrimSpace(out) != "by hand" {
		t.Errorf("version %d after %d, note %q", v2, v, out)
	}
}

func TestAnOperatorsChangeIsAConflictForAStaleWriterAndIsNoticed(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	first := put(t, b, "a", "rt-1", 0)
	_, err := b.List(t.Context())
	must(t, err)
	reports := watch(t, b)
	f.kv(t, []string{"patch"}, "a", "refresh_token=rt-2")
	wantReport(t, reports, "a", "kv patch")
	if _, err := b.CompareAndSwap(t.Context(), "a", sample("late"), first); !errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("a stale write: %v", err)
	}
	wantToken(t, b, "a", "rt-2")
	f.kv(t, []string{"rollback", "-version=1"}, "a")
	wantReport(t, reports, "a", "kv rollback")
	wantToken(t, b, "a", "rt-1")
	f.kv(t, []string{"put"}, "new", "provider=p", "type=oauth_refresh", "refresh_token=rt-3")
	wantReport(t, reports, "new", "kv put")
	wantToken(t, b, "new", "rt-3")
}

func TestASoftDeletedOrDestroyedVersionIsAPausedAccount(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	v := put(t, b, "a", "rt", 0)
	_, err := b.List(t.Context())
	must(t, err)
	reports := watch(t, b)
	wantPaused := func(how string) {
		t.Helper()
		wantReport(t, reports, "a", how)
		if _, at, err := b.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrDeleted) || at != v {
			t.Errorf("%s: version %d, %v; want version %d and ErrDeleted", how, at, err, v)
		}
		heads, err := b.List(t.Context())
		if err != nil || ids(heads) != "a@0" {
			t.Errorf("%s: listed %q, %v; want a@0", how, ids(heads), err)
		}
		if _, err := b.CompareAndSwap(t.Context(), "a", sample("anew"), 0); !errors.Is(err, tokenstore.ErrConflict) {
			t.Errorf("%s: creating it: %v, want a conflict", how, err)
		}
	}
	f.kv(t, []string{"delete"}, "a")
	wantPaused("kv delete")
	f.kv(t, []string{"undelete", "-versions=1"}, "a")
	wantReport(t, reports, "a", "kv undelete")
	wantToken(t, b, "a", "rt")
	f.kv(t, []string{"destroy", "-versions=1"}, "a")
	wantPaused("kv destroy")
	v = put(t, b, "a", "rt-2", v)
	wantToken(t, b, "a", "rt-2")
}

func TestARecordThatIsRemovedAndCreatedAnewToTheSameVersionIsNoticed(t *testing.T) {
	f := prepare(t, server(t))
	f.cfg.Poll = time.Hour // one look, after both changes
	b, _ := open(t, f.cfg)
	put(t, b, "a", "rt-1", 0)
	_, err := b.List(t.Context())
	must(t, err)
	f.kv(t, []string{"metadata", "delete"}, "a")
	f.kv(t, []string{"put"}, "a", "provider=p", "type=oauth_refresh", "refresh_token=rt-2")
	wantReport(t, watch(t, b), "a", "the new record")
	if _, v, err := b.Load(t.Context(), "a"); v != 1 || err != nil {
		t.Errorf("version %d, %v: this test needs the same number", v, err)
	}
}

func TestDeletingLeavesNothingBehind(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	v := put(t, b, "a", "rt", 0)
	must(t, b.Delete(t.Context(), "a", v))
	secret, err := f.Root.Logical().ReadWithContext(t.Context(), f.path("metadata", "a"))
	if err != nil || secret != nil {
		t.Errorf("metadata after the deletion: %v, %v", secret != nil, err)
	}
	if err := b.Delete(t.Context(), "a", 0); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("deleting what is not there: %v", err)
	}
}

// A deletion that was cut off after its tombstone: the account is gone for readers, and the deletion can be finished.
func TestAHalfDeletedRecordLoadsAsDeletedAndCanBeDeletedAgain(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	put(t, b, "a", "rt", 0)
	f.kv(t, []string{"put"}, "a", "tokenward_deleted=true")
	_, v, err := b.Load(t.Context(), "a")
	if !errors.Is(err, tokenstore.ErrDeleted) || v != 2 {
		t.Errorf("version %d, %v; want 2 and ErrDeleted", v, err)
	}
	must(t, b.Delete(t.Context(), "a", v))
	if heads, err := b.List(t.Context()); err != nil || len(heads) != 0 {
		t.Errorf("listed %q, %v", ids(heads), err)
	}
}

func TestFoldersAndNamesThatAreNoAccountIDsAreIgnoredWithOneWarning(t *testing.T) {
	f := prepare(t, server(t))
	b, log := open(t, f.cfg)
	put(t, b, "good", "rt", 0)
	for _, name := range []string{"folder/inner", "with space", ".hidden"} {
		write(t, f.Server, f.path("data", tokenstore.AccountID(name)), map[string]any{"data": map[string]any{"provider": "p"}})
	}
	write(t, f.Server, f.path("metadata", "no-version"), map[string]any{"max_versions": 5})
	for range 3 {
		if heads, err := b.List(t.Context()); err != nil || ids(heads) != "good@1" {
			t.Errorf("listed %q, %v", ids(heads), err)
		}
	}
	if log.Len() != 1 || !strings.Contains(log.text(), `"count":3`) {
		t.Errorf("logged %s", log.text())
	}
	if _, _, err := b.Load(t.Context(), "no-version"); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("metadata without a version: %v", err)
	}
}

func TestAnIDThatWouldLeaveThePrefixIsRefused(t *testing.T) {
	b, _ := open(t, prepare(t, server(t)).cfg)
	for _, id := range []tokenstore.AccountID{"", "../x", "a/b", "a?list=true"} {
		_, _, loadErr := b.Load(t.Context(), id)
		_, swapErr := b.CompareAndSwap(t.Context(), id, sample("rt"), 0)
		for _, err := range []error{loadErr, swapErr, b.Delete(t.Context(), id, 1)} {
			wantWords(t, err, "account id")
		}
	}
}

func TestOfManyAccountsNoneIsMissed(t *testing.T) {
	f := prepare(t, server(t))
	b, _ := open(t, f.cfg)
	want := map[tokenstore.AccountID]bool{}
	for i := range 300 {
		id := tokenstore.AccountID("account-" + string(rune('a'+i%26)) + "-" + time.Duration(i).String())
		put(t, b, id, "rt", 0)
		want[id] = true
	}
	reports := watch(t, b)
	got := map[tokenstore.AccountID]bool{}
	for len(got) < len(want) {
		select {
		case id := <-reports:
			got[id] = true
		case <-time.After(patience):
			t.Fatalf("%d of %d reported", len(got), len(want))
		}
	}
	if !maps.Equal(want, got) {
		t.Error("other accounts were reported")
	}
}
