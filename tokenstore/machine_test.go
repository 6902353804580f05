package tokenstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// Drawn up front and run in a bubble of its own: rapid's control flow may not leave its goroutine.
func TestNoHistorySpendsATokenTwiceLowersAGenerationOrPicksADeadToken(t *testing.T) {
	step := rapid.SampledFrom(
		[]string{
			"ok", "401", "401", "429", "refresh", "rotate", "erase", "back", "peer", "peer starts anew", "paste", "bad",
			"bad by hand", "slip", "share", "down", "lose", "up", "second", "minute", "hour",
		},
	)
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(step, 1, 40).Draw(r, "steps")
		problem := ""
		synctest.Test(t, func(t *testing.T) { problem = play(newStore(t, Account("a"), Account("b")), steps) })
		if problem != "" {
			r.Fatal(problem)
		}
	})
}

// fit reports whether nothing speaks against the account.
func fit(st tokenstore.AccountStatus) bool {
	return st.Routable && st.State == tokenstore.StateActive && st.Reason == "" && time.Until(st.ExpiresAt) > time.Minute
}

func play(w *world, steps []string) string {
	refused, highest := map[string]bool{}, map[tokenstore.AccountID]tokenstore.Generation{} // refused: fingerprints
	accepted := map[tokenstore.AccountID]time.Time{}
	early := map[tokenstore.AccountID]tokenstore.Record{"a": w.stored("a"), "b": w.stored("b")}
	mood := moody(w.driver)
	peer := open(w.t, w.memory, w.memory, w.driver)
	for i, step := range steps {
		id := tokenstore.AccountID("ab"[i%2 : i%2+1])
		switch step {
		case "refresh":
			_, _ = w.RefreshAccount(context.Background(), id, true)
		case "peer":
			_, _ = peer.RefreshAccount(context.Background(), id, true)
		case "peer starts anew":
			if w.stored("a").RefreshToken.Equal(w.stored("b").RefreshToken) {
				break // it might take the other account for the owner
			}
			peer.stop()
			peer = open(w.t, w.memory, w.memory, w.driver)
		case "rotate":
			edit(w.t, w.memory, id, func(r *tokenstore.Record) {
				r.RefreshToken = tokenstore.NewSecret(fmt.Sprint("theirs-", i))
			})
		case "erase":
			edit(w.t, w.memory, id, func(r *tokenstore.Record) {
				*r = tokenstore.Record{Provider: "p", Kind: r.Kind, RefreshToken: tokenstore.NewSecret(fmt.Sprint("erased-", i))}
			})
		case "back": // the store goes back in time; with a dead successor the old token is all there is
			if st, _ := w.Status(id); st.State != tokenstore.StateNeedsReauth {
				edit(w.t, w.memory, id, func(r *tokenstore.Record) {
					*r, early[id] = early[id], *r
					r.AccessToken = tokenstore.Secret{}
				})
			}
		case "paste", "bad":
			edit(w.t, w.memory, id, func(r *tokenstore.Record) { pastes["by command"](id, r, fmt.Sprint(step, "-", i)) })
		case "bad by hand":
			edit(w.t, w.memory, id, func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret(fmt.Sprint("bad-", i)) })
		case "slip":
			edit(w.t, w.memory, id, func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret(`"quoted"`) })
		case "share":
			theirs := w.stored(map[tokenstore.AccountID]tokenstore.AccountID{"a": "b", "b": "a"}[id]).RefreshToken
			edit(w.t, w.memory, id, func(r *tokenstore.Record) { r.RefreshToken = theirs })
		case "down", "lose", "up":
			mood.Store(step)
		case "second":
			time.Sleep(time.Second)
		case "minute":
			time.Sleep(time.Minute)
			clear(refused) // a refusal is held against a token for so long
		case "hour":
			time.Sleep(time.Hour)
			clear(refused)
		default:
			p, err := w.Pick(context.Background(), tokenstore.PickRequest{Route: "r"})
			if err != nil {
				break // benched, both
			}
			p.Release()
			st, _ := w.Status(p.Account)
			if !st.ExpiresAt.IsZero() && !time.Now().Before(st.ExpiresAt) {
				return fmt.Sprintf("step %d picked a dead token of %s", i, p.Account)
			}
			if other, _ := w.Status(
				map[tokenstore.AccountID]tokenstore.AccountID{"a": "b", "b": "a"}[p.Account],
			); refused[st.Fingerprint] && !refused[other.Fingerprint] &&
				fit(other) {
				return fmt.Sprintf("step %d picked the refused token of %s and not that of %s", i, p.Account, other.ID)
			}
			resp := map[string]tokenstore.Response{"ok": answer(200), "401": answer(401), "429": limited(30)}[step]
			if step == "ok" {
				accepted[p.Account] = time.Now()
				delete(refused, st.Fingerprint)
			}
			if at := accepted[p.Account]; at.IsZero() || time.Since(at) >= time.Minute { // else it counts as healthy
				refused[st.Fingerprint] = refused[st.Fingerprint] || step == "401"
			}
			if _, err := w.Report(context.Background(), p, resp, nil, nil); err != nil {
				return err.Error()
			}
		}
		synctest.Wait()
		for _, st := range w.Statuses() {
			if st.Generation != 0 && st.Generation < highest[st.ID] {
				return fmt.Sprintf("step %d (%s): generation of %s fell from %d to %d", i, step, st.ID, highest[st.ID], st.Generation)
			}
			highest[st.ID] = max(highest[st.ID], st.Generation)
		}
	}
	if n := w.driver.MostSpent(); n > 1 {
		return fmt.Sprintf("a refresh token was spent %d times", n)
	}
	return ""
}

// moody has the token endpoint refuse bad credentials for good, and others for now, or lose their answers unprocessed.
func moody(d *tokenstoretest.Driver) *atomic.Value {
	var mood atomic.Value
	mood.Store("up")
	d.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
		switch {
		case mood.Load() == "down":
			return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient}
		case strings.HasPrefix(r.RefreshToken.Reveal(), "bad"):
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent}
		case mood.Load() == "lose":
			return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
		}
		return nil
	}
	return &mood
}
