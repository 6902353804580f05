package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/tokenstore"
)

// readers is how many records are read at once to learn who has a refresh token: ten thousand take Vault a few seconds.
const readers = 16

// holders tell whose each refresh token of the store is or was.
type holders struct {
	of    map[string]tokenstore.AccountID // by what equal secrets have in common
	spent map[tokenstore.AccountID][]string
}

// mayHave refuses a refresh token that another account of the store has, or that this one has spent: a refresh token
// has one owner, and one that was exchanged brings nothing but trouble.
func (s *Session) mayHave(
	cmd *cobra.Command, ctx context.Context, id tokenstore.AccountID, old, next tokenstore.Record,
) error {
	if next.RefreshToken.IsZero() || next.RefreshToken.Equal(old.RefreshToken) {
		return nil
	}
	if slices.Contains(old.Rotation.Spent, tokenstore.Fingerprint(id, next.RefreshToken)) {
		if state, _ := tokenstore.Standing(id, old, s.Drivers, s.Pools); state != tokenstore.StateNeedsReauth {
			return refusedf(
				"this refresh token was exchanged for the one that it has now, and a provider may revoke an account that " +
					"presents it again: log in at the provider anew, and give what that brings",
			)
		}
	}
	if s.holders == nil {
		var err error
		if s.holders, err = holdersOf(ctx, s.Backend); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(),
				"note: whether another account has this refresh token could not be looked up (%v); the running service looks, "+
					"too\n",
				err)
			return nil
		}
	}
	for other, spent := range s.holders.spent {
		if other != id && slices.Contains(spent, tokenstore.Fingerprint(other, next.RefreshToken)) {
			return refusedf(
				"this refresh token was account %s's, and account %s has exchanged it: log in at the provider once more for this "+
					"one",
				other, other,
			)
		}
	}
	if owner, ok := s.holders.of[tokenstore.Fingerprint("", next.RefreshToken)]; ok && owner != id {
		return refusedf(
			"account %s has this refresh token, and a refresh token has one owner: log in at the provider once more for this "+
				"one, or remove account %s first",
			owner, owner,
		)
	}
	return nil
}

// hold notes whose a refresh token is that was just written.
func (s *Session) hold(id tokenstore.AccountID, r tokenstore.Record) {
	if s.holders != nil && !r.RefreshToken.IsZero() {
		s.holders.of[tokenstore.Fingerprint("", r.RefreshToken)] = id
	}
}

// holdersOf reads all records. Those that cannot be read alone are left out.
func holdersOf(ctx context.Context, b tokenstore.Backend) (*holders, error) {
	heads, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards out
	out := &holders{map[string]tokenstore.AccountID{}, map[tokenstore.AccountID][]string{}}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, h := range heads {
		g.Go(func() error {
			r, _, err := b.Load(ctx, h.ID)
			if err != nil {
				if absent(err) || errors.Is(err, tokenstore.ErrUnreadable) || errors.Is(err, tokenstore.ErrWithheld) {
					return nil
				}
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if f := r.Former; f != nil && !f.RefreshToken.IsZero() {
				if key := tokenstore.Fingerprint("", f.RefreshToken); out.of[key] == "" {
					out.of[key] = h.ID
				}
			}
			if !r.RefreshToken.IsZero() {
				out.of[tokenstore.Fingerprint("", r.RefreshToken)] = h.ID
			}
			if len(r.Rotation.Spent) > 0 {
				out.spent[h.ID] = r.Rotation.Spent
			}
			return nil
		})
	}
	return out, g.Wait()
}
