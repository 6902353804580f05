package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"
)

// The operator's edits, with the root token and past the gates. An edit that Vault does not take is made again: people
// do.

func (w *world) kv() *api.KVv2 { return w.vault.Root.KVv2("secret") }

func insist(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (w *world) patch(ctx context.Context, account string, set map[string]any) error {
	return insist(ctx, func() error {
		_, err := w.kv().Patch(ctx, accountsPath+account, set, api.WithMergeMethod(api.KVMergeMethodPatch))
		return err
	})
}

// put signs in anew and writes the whole record, without what the service keeps in it.
func (w *world) put(ctx context.Context, account string) error {
	c := w.books.signIn(w.provider, account, life)
	return insist(ctx, func() error {
		_, err := w.kv().Put(ctx, accountsPath+account, map[string]any{
			"provider":      "sim",
			"type":          "ANTHROPIC_OAUTH",
			"pools":         "claude",
			"client_id":     c.ClientID,
			"refresh_token": c.RefreshToken,
			"access_token":  c.AccessToken,
			"expires_at":    c.ExpiresAt.Format(time.RFC3339),
			"obtained_at":   time.Now().UTC().Format(time.RFC3339),
		})
		return err
	})
}

// edit makes one kind of change; what it takes away for a while it gives back.
func (w *world) edit(ctx context.Context, kind, account string, pause time.Duration) error {
	w.edits[account].Lock()
	defer w.edits[account].Unlock()
	switch kind {
	case "label":
		return w.patch(ctx, account, map[string]any{"labels": map[string]any{"storm": fmt.Sprint(pause)}})
	case "credential":
		c := w.books.signIn(w.provider, account, life)
		return w.patch(ctx, account, map[string]any{"refresh_token": c.RefreshToken})
	case "put":
		return w.put(ctx, account)
	case "pause":
		if err := w.patch(ctx, account, map[string]any{"state": "paused"}); err != nil {
			return err
		}
		time.Sleep(pause)
		return w.patch(ctx, account, map[string]any{"state": "active"})
	case "recreate":
		if err := insist(ctx, func() error { return w.kv().DeleteMetadata(ctx, accountsPath+account) }); err != nil {
			return err
		}
		time.Sleep(pause)
		return w.put(ctx, account)
	case "delete":
		if err := insist(ctx, func() error { return w.kv().Delete(ctx, accountsPath+account) }); err != nil {
			return err
		}
		time.Sleep(pause)
		return w.undelete(ctx, account)
	}
	return fmt.Errorf("there is no edit %q", kind)
}

// undelete brings the record's latest version back, unless a replica that was saving a rotation was quicker.
func (w *world) undelete(ctx context.Context, account string) error {
	return insist(ctx, func() error {
		m, err := w.kv().GetMetadata(ctx, accountsPath+account)
		if err != nil {
			return err
		}
		latest := m.Versions[fmt.Sprint(m.CurrentVersion)]
		if latest.DeletionTime.IsZero() {
			return nil
		}
		return w.kv().Undelete(ctx, accountsPath+account, []int{m.CurrentVersion})
	})
}
