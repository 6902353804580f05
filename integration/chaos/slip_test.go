package chaos

import (
	"context"
	"time"
)

// slips are wrong values that people write into keys that are no credentials, and what mends them.
var slips = []struct {
	key          string
	wrong, right any
}{
	{"labels", "team-red", map[string]any{"team": "red"}},
	{"limits", "many", ""},
	{"state", "pausd", "active"},
	{"pools", []any{4711}, "claude"},
	{"limits", `{"rpm":"lots"}`, `{"rpm":60000}`},
	{"tenant", map[string]any{"name": "acme"}, ""},
	{"token_type", 4711, "Bearer"},
	{"scope", true, "user:inference"},
}

// slip writes a wrong value and mends it later; of two drawn at once the second waits.
func slip(ctx context.Context, w *world, f fault) (bool, error) {
	w.edits[f.account].Lock()
	defer w.edits[f.account].Unlock()
	s := slips[f.number%len(slips)]
	if err := w.patch(ctx, f.account, map[string]any{s.key: s.wrong}); err != nil {
		return false, err
	}
	time.Sleep(slipLasts * f.pause)
	return true, w.patch(ctx, f.account, map[string]any{s.key: s.right})
}

// slipLasts is for how many pauses a slip stands.
const slipLasts = 3

// slipInRefresh makes the slip while a refresh is at the token endpoint.
func slipInRefresh(ctx context.Context, w *world, f fault) (bool, error) {
	r, g := w.replicas[f.replica], w.replicas[f.replica].grants
	r.mu.Lock()
	hit := reach(w, f, g, g.arm("grant", f.account, false, "delay", 500*time.Millisecond))
	r.mu.Unlock()
	if !hit {
		return false, nil
	}
	return slip(ctx, w, f)
}
