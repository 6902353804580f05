package cli

import (
	"context"
	"fmt"

	"github.com/tokenward/tokenward/tokenstore"
)

// undo takes a failed handover back. The source is made active again only if the target's record is certainly not
// active: better an account that is paused twice than a refresh token with two owners.
func (h *handover) undo(ctx context.Context, before, paused half, placed tokenstore.Version, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	there, v, err := h.target.Backend.Load(ctx, h.id)
	switch {
	case absent(err):
	case err != nil:
		return fmt.Errorf(
			"%w; it stays paused at the source, since the target does not say what it has (%w): look there, then run the same "+
				"copy again",
			why, err,
		)
	case there.State != tokenstore.Paused:
		return fmt.Errorf("%w; it stays paused at the source, since it is active at the target", why)
	case h.created && v == placed:
		_ = h.target.Backend.Delete(ctx, h.id, v) // paused: harmless if it stays, and the next copy finds it
	}
	if before.record.State == tokenstore.Paused {
		return fmt.Errorf("%w; it is paused at the source as before", why)
	}
	if _, err := write(ctx, h.source.Backend, h.id, before.record, paused.version); err != nil {
		return fmt.Errorf(
			"%w; it could not be made active again at the source (%w): run tokenward accounts resume --force %s there", why, err,
			h.id,
		)
	}
	return fmt.Errorf("%w; it is active at the source as before", why)
}
