package rotation

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// storeTimeout bounds one call of the backend.
const storeTimeout = 10 * time.Second

// stored is a record as it was read or written. known is the version that memory, or the writer, knew before: a read
// that shows an older version than it knew when it began is no late answer; the record was deleted and made again.
type stored struct {
	record  record.Record
	version record.Version
	known   record.Version
}

func (k *Keeper) read(id record.ID) (stored, error) {
	ctx, cancel := context.WithTimeout(k.life, storeTimeout)
	defer cancel()
	var known record.Version
	if a := k.Account(id); a != nil {
		known = a.look().version
	}
	started := time.Now()
	r, v, err := k.backend.Load(ctx, id)
	k.answered("load", started, err)
	return stored{r, v, known}, err
}

// write stores the record under a write id. The answer of a successful write may get lost: whatever error comes, a
// record that carries our write id is ours.
func (k *Keeper) write(id record.ID, r record.Record, expect record.Version, writeID string) (stored, error) {
	if r.Rotation.Incarnation == "" {
		r.Rotation.Incarnation = record.NewID()
	}
	r.Rotation.Format, r.Rotation.WriteID, r.Rotation.Writer = record.RotationFormat, writeID, k.cfg.Holder
	r.Mend("rotation")
	r.Ends = time.Time{} // the new version's own end is read with it
	ctx, cancel := context.WithTimeout(k.life, storeTimeout)
	defer cancel()
	started := time.Now()
	v, err := k.backend.CompareAndSwap(ctx, id, r, expect)
	k.answered("write", started, err)
	if err == nil {
		return stored{r, v, expect}, nil
	}
	if cur, _ := k.read(id); cur.record.Rotation.WriteID == writeID { // also with an edit on top that makes it unusable
		return stored{cur.record, cur.version, expect}, nil
	}
	return stored{}, err
}

// take adopts a record into memory. It returns the record as it is to be: with the tokens of memory, if the store has
// lost them.
func (k *Keeper) take(a *Account, r stored) stored {
	if err := r.record.Broken(); err != nil {
		k.unusable(a, err, r)
		return r
	}
	var before, after lifecycle
	var reverted *lost
	k.change(a, func(l *lifecycle, now time.Time) {
		before = *l
		r.record = record.StandIn(a.id, r.record, l.record)
		reverted = l.adopted(r, now)
		after = *l
	})
	k.reconsider(a, false)
	told, now := before.record.Rotation.Rejected, after.record.Rotation.Rejected
	if before.version != 0 && now != nil && (told == nil || !told.At.Equal(now.At)) {
		k.host.Event("credential_rejected", a, zap.String("error", now.Error))
	}
	k.host.Adopted(a)
	if reverted != nil {
		k.host.Event("rotation_restored", a)
		k.restore(a)
		r.record = reverted.entry.Record
		return r
	}
	k.settleOrphans(a, r.version)
	l := a.look()
	if met := l.reverted(r, time.Now()); met != nil { // memory has met this version already
		r.record = met.entry.Record
	}
	return r
}

// takeSaved is take of what a commit met or wrote: its saving phase is over, and changes of the record are adopted
// again.
func (k *Keeper) takeSaved(a *Account, e JournalEntry, r stored) {
	k.change(a, func(l *lifecycle, _ time.Time) { l.saved(e, r) })
	k.take(a, r)
}

// pauseForStore waits for d, for the store to be back, or for the store's end.
func (k *Keeper) pauseForStore(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.contact.returns():
	case <-k.life.Done():
	}
}

// pause waits for d or the end of the context.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
