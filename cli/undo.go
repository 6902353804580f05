package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// undoTime bounds the undoing of a handover, which also happens after Ctrl-C.
const undoTime = 15 * time.Second

// undo takes a failed handover back. The source is made active again only if the target's record is certainly not active:
// better an account that is paused twice than a refresh token with two owners.
func (h *handover) undo(ctx context.Context, before, paused half, placed tokenstore.Version, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	there, v, err := h.target.Backend.Load(ctx, h.id)
	switch {
	case absent(err):
	case err != nil:
		return fmt.Errorf("%w; it stays paused at the source, since the target does not say what it has (%w): look there, then run the same copy again", why, err)
	case there.State != tokenstore.Paused:
		return fmt.Errorf("%w; it stays paused at the source, since it is active at the target", why)
	case h.created && v == placed:
		_ = h.target.Backend.Delete(ctx, h.id, v) // paused: harmless if it stays, and the next copy finds it
	}
	if before.record.State == tokenstore.Paused {
		return fmt.Errorf("%w; it is paused at the source as before", why)
	}
	if _, err := write(ctx, h.source.Backend, h.id, before.record, paused.version); err != nil {
		return fmt.Errorf("%w; it could not be made active again at the source (%w): run tokenward accounts resume --force %s there", why, err, h.id)
	}
	return fmt.Errorf("%w; it is active at the source as before", why)
}

// writer marks records that were written by a person's command.
const writer = "operator"

// write stores a record under a write id of its own, by which it is recognised when the answer gets lost.
func write(ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version) (half, error) {
	r = r.Clone()
	r.Rotation.WriteID, r.Rotation.Writer = tokenstore.NewIncarnation(), writer
	v, err := b.CompareAndSwap(ctx, id, r, expect)
	if err == nil {
		return half{r, v}, nil
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if cur, v, lerr := b.Load(look, id); lerr == nil && cur.Rotation.WriteID == r.Rotation.WriteID {
		return half{r, v}, nil
	}
	return half{}, err
}
