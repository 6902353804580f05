package tokenstoretest

import (
	"encoding/json"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// keepsSlips checks that what stands in a wrong key survives the writes of others as it was.
func keepsSlips(t *testing.T, b tokenstore.Backend) {
	r := sample("first")
	for key, raw := range map[string]string{"labels": `"team-red"`, "limits": `{"concurrency":2,"rpm":"many"}`, "tenant": `["acme"]`} {
		r.Slips = append(r.Slips, tokenstore.Slip{Key: key, Raw: json.RawMessage(raw)})
	}
	v := mustSwap(t, b, "a", r, 0)
	written := map[string]string{
		"labels": `"team-red"`, "limits.rpm": `{"concurrency":2,"rpm":"many"}`, "tenant": `["acme"]`,
	}
	for _, token := range []string{"second", "third"} {
		got, at := mustLoad(t, b, "a")
		if len(got.Slips) != 3 || got.Limits.Concurrency != 2 || at != v {
			t.Fatalf("version %d has the slips %v; want three at %d", at, got.Slips, v)
		}
		for _, s := range got.Slips {
			if want := written[s.Key]; string(s.Raw) != want {
				t.Errorf("%s is %s, was written as %s", s.Key, s.Raw, want)
			}
		}
		got.RefreshToken = tokenstore.NewSecret(token)
		v = mustSwap(t, b, "a", got, v)
	}
	wantStored(t, b, "a", "third", v)
}

// readsUnusable checks that a record which nobody can use comes with what can be read of it, and can be written to.
func readsUnusable(t *testing.T, b tokenstore.Backend) {
	r := sample("first")
	r.Provider, r.Slips = "", []tokenstore.Slip{
		{Key: "provider", Raw: json.RawMessage(`4711`), InForce: json.RawMessage(`""`)},
	}
	v := mustSwap(t, b, "a", r, 0)
	got, at, err := b.Load(t.Context(), "a")
	wantError(t, err, tokenstore.ErrUnreadable)
	if got.RefreshToken.Reveal() != "first" || at != v {
		t.Fatalf("read %q at version %d, want the token at %d", got.RefreshToken.Reveal(), at, v)
	}
	got.RefreshToken = tokenstore.NewSecret("second")
	v = mustSwap(t, b, "a", got, v)
	got, at, err = b.Load(t.Context(), "a")
	wantError(t, err, tokenstore.ErrUnreadable)
	if got.RefreshToken.Reveal() != "second" || at != v || len(got.Slips) != 1 || string(got.Slips[0].Raw) != `4711` {
		t.Errorf("read %q at version %d with the slips %v", got.RefreshToken.Reveal(), at, got.Slips)
	}
}
