package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// writer marks records that were written by a person's command.
const writer = "operator"

// lookTime bounds the look at what became of a write, which also happens after Ctrl-C.
const lookTime = 15 * time.Second

// tries is how often a change is made anew when somebody else was quicker.
const tries = 10

// half is a record in a store, with its version.
type half struct {
	record  tokenstore.Record
	version tokenstore.Version
}

// errRemove, as the error of a change, deletes the record.
var errRemove = errors.New("the record is to be deleted")

// update stores what change makes of an account's record, and returns what is stored. When somebody else was quicker it
// loads the record and calls change again. A lost answer of a write that arrived is success.
//
// change gets what Load gave, with its error: nil, or one that matches ErrNotFound, ErrDeleted or ErrUnreadable. Its
// own error ends the update, and nothing is written; errRemove deletes the record.
func update(
	ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID,
	change func(was half, err error) (tokenstore.Record, error),
) (half, error) {
	doing := "saving"
	for range tries {
		r, v, err := b.Load(ctx, id)
		if err != nil && !absent(err) && !errors.Is(err, tokenstore.ErrUnreadable) {
			return half{}, fmt.Errorf("reading account %s: %w", id, err)
		}
		var done half
		next, err := change(half{r, v}, err)
		switch {
		case errors.Is(err, errRemove):
			doing = "removing"
			err = erase(ctx, b, id, v)
		case err != nil:
			return half{}, err
		default:
			done, err = write(ctx, b, id, next, v)
		}
		switch {
		case err == nil:
			return done, nil
		case !errors.Is(err, tokenstore.ErrConflict):
			return half{}, fmt.Errorf("%s account %s: %w", doing, id, err)
		}
	}
	return half{}, refusedf("%s account %s: somebody keeps changing it: try again", doing, id)
}

// edit changes a record that is there and can be read. The bookkeeping of refreshes stays as it is.
func edit(
	ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID, change func(r *tokenstore.Record) error,
) error {
	_, err := update(ctx, b, id, func(was half, err error) (tokenstore.Record, error) {
		switch {
		case errors.Is(err, tokenstore.ErrNotFound):
			return tokenstore.Record{}, notFound(id)
		case err != nil:
			return tokenstore.Record{}, fmt.Errorf("reading account %s: %w", id, err)
		}
		err = change(&was.record)
		return was.record, err
	})
	return err
}

// write stores a record on top of a version, under a write id of its own. By that id the record is recognised when the
// answer gets lost, also with an edit on top.
func write(
	ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version,
) (half, error) {
	r = r.Clone()
	if !r.Slipped("rotation") { // what stands there is for a human to look at
		r.Rotation.WriteID, r.Rotation.Writer = tokenstore.NewIncarnation(), writer
	}
	v, err := b.CompareAndSwap(ctx, id, r, expect)
	if err == nil {
		return half{r, v}, nil
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	cur, v, _ := b.Load(look, id)
	if w := cur.Rotation.WriteID; w != "" && w == r.Rotation.WriteID && !r.Slipped("rotation") {
		return half{r, v}, nil
	}
	return half{}, err
}

// erase deletes a version of a record. If the answer gets lost and the record is gone, that is what was wanted.
func erase(ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID, expect tokenstore.Version) error {
	err := b.Delete(ctx, id, expect)
	if err == nil {
		return nil
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	if _, _, lerr := b.Load(look, id); errors.Is(lerr, tokenstore.ErrNotFound) {
		return nil
	}
	return err
}
