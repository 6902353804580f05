package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// step is something that is done to both twins.
type step struct {
	what string
	id   tokenstore.AccountID
	do   func(twin) string // returns what came of it
}

// GoString is how rapid prints a step that it drew.
func (s step) GoString() string { return s.what }

func result(v tokenstore.Version, err error) string {
	return fmt.Sprintf("version %d, %s", v, inWords(err))
}

func kvPut(id tokenstore.AccountID, doc string, cas ...tokenstore.Version) step {
	return step{fmt.Sprintf("kv put %s %s, cas %v", id, doc, cas), id, func(w twin) string {
		return result(w.Put(id, object(doc), cas...))
	}}
}

func kvPatch(id tokenstore.AccountID, keys string, cas ...tokenstore.Version) step {
	return step{fmt.Sprintf("kv patch %s %s, cas %v", id, keys, cas), id, func(w twin) string {
		return result(w.Patch(id, object(keys), cas...))
	}}
}

func object(text string) map[string]any {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		panic(err)
	}
	doc := map[string]any{}
	for k, v := range keys {
		if doc[k] = v; string(v) == "null" {
			doc[k] = nil
		}
	}
	return doc
}

func kvRollback(id tokenstore.AccountID, to tokenstore.Version) step {
	return step{fmt.Sprintf("kv rollback %s to %d", id, to), id, func(w twin) string {
		return result(w.Rollback(id, to))
	}}
}

func kvDelete(id tokenstore.AccountID) step {
	return step{fmt.Sprintf("kv delete %s", id), id, func(w twin) string { return inWords(w.SoftDelete(id)) }}
}

func kvUndelete(id tokenstore.AccountID, versions ...tokenstore.Version) step {
	return step{fmt.Sprintf("kv undelete %s %d", id, versions), id, func(w twin) string {
		return inWords(w.Undelete(id, versions...))
	}}
}

func kvDestroy(id tokenstore.AccountID, versions ...tokenstore.Version) step {
	return step{fmt.Sprintf("kv destroy %s %d", id, versions), id, func(w twin) string {
		return inWords(w.Destroy(id, versions...))
	}}
}

func kvMetadataDelete(id tokenstore.AccountID) step {
	return step{fmt.Sprintf("kv metadata delete %s", id), id, func(w twin) string {
		return inWords(w.DestroyMetadata(id))
	}}
}

func kvEnds(id tokenstore.AccountID, after time.Duration) step {
	return step{fmt.Sprintf("versions of %s end after %s", id, after), id, func(w twin) string {
		return inWords(w.DeleteVersionsAfter(id, after))
	}}
}

func deny(id tokenstore.AccountID) step {
	return step{fmt.Sprintf("deny %s", id), id, func(w twin) string { w.Deny(id); return "" }}
}

func allow(id tokenstore.AccountID) step {
	return step{fmt.Sprintf("allow %s", id), id, func(w twin) string { w.Allow(id); return "" }}
}

func swap(c client, id tokenstore.AccountID, token string, expect tokenstore.Version) step {
	return step{fmt.Sprintf("the %s writes %s onto %d of %s", c.name, token, expect, id), id, func(w twin) string {
		r := sample(token)
		r.Extra = map[string]json.RawMessage{"note": json.RawMessage(`{"z":1,"a":[1e3,"<&>",null]}`)}
		return result(c.of(w).CompareAndSwap(context.Background(), id, r, expect))
	}}
}

// rewrite puts another token into whatever can be read, as a refresh does.
func rewrite(c client, id tokenstore.AccountID, token string) step {
	return step{fmt.Sprintf("the %s rewrites %s with %s", c.name, id, token), id, func(w twin) string {
		r, v, _ := c.of(w).Load(context.Background(), id)
		r.RefreshToken = tokenstore.NewSecret(token)
		return result(c.of(w).CompareAndSwap(context.Background(), id, r, v))
	}}
}

func remove(c client, id tokenstore.AccountID, expect tokenstore.Version) step {
	return step{fmt.Sprintf("the %s deletes %d of %s", c.name, expect, id), id, func(w twin) string {
		return inWords(c.of(w).Delete(context.Background(), id, expect))
	}}
}

const whole = `{"provider":"p","type":"oauth_refresh","refresh_token":"rt","client_id":"c"}`

// compare does the steps to both and compares what each does and what is seen after it.
func compare(inVault, inMemory twin, steps []step) string {
	history := ""
	for _, s := range steps {
		history += "\n  " + s.what
		want := s.do(inVault) + "\n" + inVault.seen(s.id)
		got := s.do(inMemory) + "\n" + inMemory.seen(s.id)
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Sprintf("after%s\nthe model differs (-Vault +model):\n%s", history, diff)
		}
	}
	return ""
}

// Operators' edits and clients' writes, on a real Vault and on the model that tests of the domain use in its place.
func TestTheModelAnswersAsVaultDoes(t *testing.T) {
	inThisVault := newReal(t, server(t))
	for name, steps := range map[string][]step{
		"what people write by hand": {
			kvPut("a", `{"provider":"p","type":"oauth_refresh","pools":"a, b","labels":"{\"team\":\"x\"}",
				"expires_at":"2026-01-02T03:04:05Z","refresh_token":"rt\n"}`),
			kvPatch("a", `{"limits":"{\"rpm\":60}","access_token":"at"}`),
			kvPatch("a", `{"limits":"many","labels":"team-red","tenant":["acme"]}`), rewrite(service, "a", "renewed"),
			kvPatch("a", `{"limits":null,"labels":null,"tenant":"","refreshToken":"x"}`), rewrite(service, "a", "again"),
		},
		"numbers, nesting and signs": {
			kvPut("a", `{"provider":"p","type":"oauth_refresh","client_id":4711,"big":12345678901234567890,
				"z":{"b":1.0,"a":1e21},"html":"<a>&\u2028ä","none":null,"list":[1,{"y":null,"x":true}]}`),
			rewrite(service, "a", "renewed"),
			kvPatch("a", `{"z":{"b":null,"new":{"deep":null,"x":1}},"list":{"now":"an object"},"html":null}`),
			kvPatch("a", `{"client_id":9007199254740993}`), rewrite(service, "a", "again"),
		},
		"a record that nobody can use": {
			kvPut("a", `{"nonsense":"x"}`), kvPut("b", `{"provider":4711,"type":"oauth_refresh","refresh_token":"rt"}`),
			rewrite(service, "b", "renewed"), kvPut("a", `{}`), kvPatch("a", `{"provider":"p"}`),
		},
		"compare-and-set": {
			swap(tool, "a", "none is there", 1), swap(tool, "a", "one", 0), swap(tool, "a", "again", 0),
			swap(service, "a", "two", 1), swap(service, "a", "late", 1), swap(service, "a", "early", 9),
			kvPut("a", whole, 1), kvPut("a", whole, 2), kvPatch("a", `{"x":"y"}`, 2), kvPatch("a", `{"x":"y"}`, 3),
			kvPut("b", whole, 3), kvPut("b", whole, 0), kvPut("b", whole, 0),
		},
		"a service creates nothing": {
			swap(service, "a", "new", 0), swap(service, "a", "new", 3), kvPut("a", whole), kvMetadataDelete("a"),
			swap(service, "a", "late", 1), kvEnds("a", 0), swap(service, "a", "metadata alone", 0),
		},
		"soft deletion and its end": {
			kvPut("a", whole), kvDelete("a"), kvDelete("a"), kvPatch("a", `{"x":"y"}`), swap(tool, "a", "anew", 0),
			swap(service, "a", "saved", 1), kvDelete("a"), kvUndelete("a", 2), kvUndelete("a", 2, 7), kvDelete("a"),
			kvPut("a", whole), kvUndelete("a", 2), kvDelete("b"), kvUndelete("b", 1),
		},
		"destruction": {
			kvPut("a", whole), kvPut("a", whole), kvDestroy("a", 1), kvUndelete("a", 1), kvDestroy("a", 2),
			kvDelete("a"), kvUndelete("a", 2), kvPatch("a", `{"x":"y"}`), swap(service, "a", "saved", 2), kvDelete("a"),
			kvDestroy("a", 3), kvUndelete("a", 3), kvDestroy("b", 1),
		},
		"rolling back": {
			kvRollback("a", 1), kvPut("a", whole), swap(service, "a", "two", 1), kvRollback("a", 1),
			swap(service, "a", "late", 2), kvRollback("a", 9), kvDelete("a"), kvRollback("a", 2), kvRollback("a", 3),
			kvDestroy("a", 1), kvRollback("a", 1), kvDestroy("a", 4), kvRollback("a", 2),
		},
		"old versions are dropped": {
			kvPut("a", whole), swap(service, "a", "two", 1), swap(service, "a", "three", 2),
			swap(service, "a", "four", 3), swap(service, "a", "five", 4), kvRollback("a", 1), kvRollback("a", 2),
			swap(service, "a", "seven", 6), kvUndelete("a", 1), kvDestroy("a", 1, 4), kvRollback("a", 4),
		},
		"removed with its metadata and made again": {
			kvPut("a", whole), kvPut("a", whole), kvMetadataDelete("a"),
			kvPut("a", `{"provider":"p","type":"oauth_refresh","refresh_token":"other"}`), swap(service, "a", "late", 2),
			swap(service, "a", "takes it for the old one", 1), kvMetadataDelete("a"), kvMetadataDelete("a"),
			kvPatch("a", `{"x":"y"}`),
		},
		"deleting": {
			kvPut("a", whole), remove(service, "a", 1), remove(tool, "a", 2), remove(tool, "a", 0), remove(tool, "a", 1),
			remove(tool, "a", 1), kvPut("b", `{"tokenward_deleted":"true"}`), rewrite(service, "b", "onto a tombstone"),
			kvPut("b", `{"tokenward_deleted":"true"}`), remove(tool, "b", 3), kvPut("a", whole), kvDelete("a"),
			remove(tool, "a", 1),
		},
		"versions that end": {
			kvPut("a", whole), kvEnds("a", time.Hour), swap(service, "a", "ends", 1), kvRollback("a", 2),
			kvRollback("a", 1), kvDelete("a"), kvUndelete("a", 3), kvEnds("a", 0), kvUndelete("a", 3),
			kvEnds("b", time.Hour), kvPut("b", whole), kvMetadataDelete("b"), kvPut("b", whole),
		},
		"a denied path": {
			kvPut("a", whole), deny("a"), swap(service, "a", "two", 1), kvPut("a", whole), remove(tool, "a", 2),
			deny("b"), kvPut("b", whole), deny("calm"), allow("a"), allow("b"), kvMetadataDelete("b"), allow("calm"),
			deny("b"), swap(tool, "b", "one", 0), kvDelete("a"), deny("a"), kvUndelete("a", 2), allow("a"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVault, inMemory := newTwins(t, inThisVault)
			if diff := compare(inVault, inMemory, steps); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheModelIsSealedAndRestoredAsVaultIs(t *testing.T) {
	inThisVault := newReal(t, own(t, vaultserver.StartRaft))
	inVault, inMemory := newTwins(t, inThisVault)
	model, ok := inMemory.operator.(*tokenstoretest.KV)
	if !ok {
		t.Fatalf("the model is a %T", inMemory.operator)
	}
	do := func(steps ...step) {
		t.Helper()
		if diff := compare(inVault, inMemory, steps); diff != "" {
			t.Error(diff)
		}
	}
	do(kvPut("a", whole), swap(service, "a", "two", 1))
	var saved bytes.Buffer
	must(t, inThisVault.Root.Sys().RaftSnapshotWithContext(t.Context(), &saved))
	snapshot := model.Snapshot()
	do(swap(service, "a", "three", 2), kvPut("b", whole), kvMetadataDelete("a"), kvPut("a", whole), deny("b"), allow("b"))

	must(t, inThisVault.Root.Sys().RaftSnapshotRestoreWithContext(t.Context(), &saved, false))
	eventually(t, "the snapshot is back", func() error {
		if n := len(inThisVault.Versions("a")); n != 2 {
			return fmt.Errorf("%d versions", n)
		}
		return nil
	})
	model.Restore(snapshot)
	do(
		step{"restore", "a", func(twin) string { return "" }},
		swap(service, "a", "late", 3), swap(service, "a", "three anew", 2), kvRollback("a", 1),
	)

	must(t, inThisVault.Seal())
	model.Seal()
	sealed := func(w twin) string {
		words := w.answers()
		for _, s := range []step{swap(service, "a", "sealed", 4), remove(tool, "a", 4)} {
			words += "\n" + s.do(w)
		}
		return words
	}
	if diff := cmp.Diff(sealed(inVault), sealed(inMemory)); diff != "" {
		t.Errorf("sealed, the model differs (-Vault +model):\n%s", diff)
	}
	must(t, inThisVault.Unseal())
	model.Unseal()
	do(swap(service, "a", "five", 4))
}

func TestNoHistoryTellsTheModelFromVault(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue { // a check costs a second on a real Vault
		must(t, checks.Value.Set("8"))
		defer func() { must(t, checks.Value.Set(checks.DefValue)) }()
	}
	inThisVault := newReal(t, server(t))
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 10, 50).Draw(r, "steps")
		inVault, inMemory := newTwins(t, inThisVault)
		if diff := compare(inVault, inMemory, steps); diff != "" {
			r.Fatal(diff)
		}
	})
}

func drawStep(r *rapid.T) step {
	id := rapid.SampledFrom(twinIDs[:2]).Draw(r, "id")
	version := func(name string) tokenstore.Version { return tokenstore.Version(rapid.Uint64Range(0, 9).Draw(r, name)) }
	token := fmt.Sprint("rt-", rapid.IntRange(1, 99).Draw(r, "token"))
	by := rapid.SampledFrom([]client{service, service, tool}).Draw(r, "client")
	keys := rapid.SampledFrom([]string{
		`{"refresh_token":"rt-of-people"}`, `{"state":"paused"}`,
		`{"limits":{"rpm":60,"x":{"y":1}}}`, `{"limits":{"x":null}}`, `{"limits":null}`,
		`{"tokenward_deleted":"true"}`, `{"provider":""}`, `{"labels":"k=v"}`, `{"rotation":null}`,
	}).Draw(r, "keys")
	switch rapid.SampledFrom([]string{
		"put", "put", "cas", "patch", "patch", "rollback", "delete", "undelete", "destroy", "remove", "metadata",
		"ends", "endless",
		"deny", "allow", "allow", "swap", "swap", "rewrite", "rewrite", "rewrite", "rewrite", "rewrite",
	}).Draw(r, "step") {
	case "put":
		return kvPut(id, whole)
	case "cas":
		return kvPut(id, whole, version("cas"))
	case "patch":
		return kvPatch(id, keys)
	case "rollback":
		return kvRollback(id, max(1, version("to")))
	case "delete":
		return kvDelete(id)
	case "undelete":
		return kvUndelete(id, version("one"), version("other"))
	case "destroy":
		return kvDestroy(id, version("which"))
	case "remove":
		return remove(by, id, version("expected"))
	case "metadata":
		return kvMetadataDelete(id)
	case "ends":
		return kvEnds(id, time.Hour)
	case "endless":
		return kvEnds(id, 0)
	case "deny":
		return deny(id)
	case "allow":
		return allow(id)
	case "swap":
		return swap(by, id, token, version("expected"))
	default:
		return rewrite(by, id, token)
	}
}
