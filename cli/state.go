package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

func (a *app) setState(use, short string, state tokenstore.OperatorState) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   use + " ID",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAccount(cmd, args[0], func(ctx context.Context, s *Session, id tokenstore.AccountID) error {
				var now tokenstore.Record
				err := edit(ctx, s.Backend, id, func(r *tokenstore.Record) error {
					to := r.Labels[copiedTo]
					if state == tokenstore.Active && to != "" {
						if !force {
							return refusedf(
								"resuming account %s: its live copy is in %s, and a refresh token must not have two owners: copy it back, or "+
									"pause it there and give --force",
								id, to,
							)
						}
						delete(r.Labels, copiedTo)
						delete(r.Labels, copiedState)
					}
					if now = *r; r.State == state && state == tokenstore.Paused && !r.Slipped("state") {
						return errUnchanged
					}
					r.State = state
					if state == tokenstore.Active { // tells the services to forget cooldowns and pauses, too
						r.Rotation.Resumed = time.Now().UTC().Format(time.RFC3339Nano)
						r.Rotation.Rejected = nil // read, and so no longer told
					}
					r.Mend("state") // whatever stood there
					now = *r
					return nil
				})
				unchanged := errors.Is(err, errUnchanged)
				if err != nil && !unchanged {
					return err
				}
				return a.sayState(cmd, s, id, now, state, unchanged)
			})
		},
	}
	if state == tokenstore.Active {
		c.Flags().BoolVar(&force, "force", false, "also an account that accounts copy moved to another store")
	}
	return c
}

// sayState tells what the account is now, which need not be what was asked for: a dead credential stays dead.
func (a *app) sayState(
	cmd *cobra.Command, s *Session, id tokenstore.AccountID, r tokenstore.Record, asked tokenstore.OperatorState,
	unchanged bool,
) error {
	is, why := tokenstore.Standing(id, r, s.Drivers, s.Pools)
	already := ""
	if unchanged {
		already = " already, and nothing was changed"
	}
	switch {
	case asked == tokenstore.Paused || is == tokenstore.StateActive:
		return a.done(cmd, "account %s is %s%s", id, asked, already)
	case is == tokenstore.StateAmbiguous:
		return a.done(cmd, "account %s is not paused, and ambiguous: %s", id, why)
	}
	if err := a.done(cmd, "account %s is not paused, and %s", id, is); err != nil {
		return err
	}
	return &ExitError{
		ExitNeedsHuman, errors.New("account " + string(id) + " needs a human: it is " + string(is) + ": " + why),
	}
}
