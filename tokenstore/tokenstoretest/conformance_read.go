package tokenstoretest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
)

func listsNothing(t *testing.T, b tokenstore.Backend) {
	if got := heads(t, b); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
}

func readsBack(t *testing.T, b tokenstore.Backend) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 891_000_000, time.UTC)
	want := tokenstore.Record{
		Provider:     "p",
		Pools:        []string{"a", "b"},
		Tenant:       "t",
		Labels:       map[string]string{"k": "v"},
		Limits:       tokenstore.Limits{RPM: 60, Concurrency: 4},
		State:        tokenstore.Paused,
		Kind:         tokenstore.KindOAuthRefresh,
		ClientID:     "c",
		ClientSecret: tokenstore.NewSecret("cs"),
		RefreshToken: tokenstore.NewSecret("rt"),
		APIKey:       tokenstore.NewSecret("ak"),
		Scope:        "s",
		AccessToken:  tokenstore.NewSecret("at"),
		TokenType:    "Bearer",
		ExpiresAt:    at.Add(time.Hour),
		ObtainedAt:   at,
		Rotation: tokenstore.Rotation{
			Incarnation: "i",
			Generation:  3,
			WriteID:     "w",
			Writer:      "h",
			Claim: &tokenstore.Claim{
				AttemptID: "a",
				Holder:    "h",
				StartedAt: at,
			},
			Last: &tokenstore.Outcome{At: at, Trigger: "schedule", Result: "succeeded"},
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
	r.Limits.Extra = map[string]json.RawMessage{"tpm": json.RawMessage(`9`)}
	r.Extra = map[string]json.RawMessage{"quota": json.RawMessage(`{"rpm":60}`), "note": json.RawMessage(`"x"`)}
	v := mustSwap(t, b, "a", r, 0)
	got, _ := mustLoad(t, b, "a")
	mustSwap(t, b, "a", got, v)
	got, _ = mustLoad(t, b, "a")
	if diff := cmp.Diff(r, got); diff != "" {
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
