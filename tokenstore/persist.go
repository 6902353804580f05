package tokenstore

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// storeTimeout bounds one call of the backend.
const storeTimeout = 10 * time.Second

// stored is a record as it was read or written. known is the version that memory, or the writer, knew before: a read that
// shows an older version than it knew when it began is no late answer; the record was deleted and made again.
type stored struct {
	record  record.Record
	version record.Version
	known   record.Version
}

func (s *Store) load(id record.ID) (stored, error) {
	ctx, cancel := context.WithTimeout(s.life, storeTimeout)
	defer cancel()
	var known record.Version
	if a := s.account(id); a != nil {
		known = a.at()
	}
	started := time.Now()
	r, v, err := s.backend.Load(ctx, id)
	s.answered("load", started, err)
	return stored{r, v, known}, err
}

// write stores the record under a write id. The answer of a successful write may get lost: whatever error comes, a record
// that carries our write id is ours.
func (s *Store) write(id record.ID, r record.Record, expect record.Version, writeID string) (stored, error) {
	if r.Rotation.Incarnation == "" {
		r.Rotation.Incarnation = record.NewID()
	}
	r.Rotation.Format, r.Rotation.WriteID, r.Rotation.Writer = record.RotationFormat, writeID, s.cfg.Holder
	r.Mend("rotation")
	r.Ends = time.Time{} // the new version's own end is read with it
	ctx, cancel := context.WithTimeout(s.life, storeTimeout)
	defer cancel()
	started := time.Now()
	v, err := s.backend.CompareAndSwap(ctx, id, r, expect)
	s.answered("write", started, err)
	if err == nil {
		return stored{r, v, expect}, nil
	}
	if cur, _ := s.load(id); cur.record.Rotation.WriteID == writeID { // also with an edit on top that makes it unusable
		return stored{cur.record, cur.version, expect}, nil
	}
	return stored{}, err
}

// take adopts a record into memory and rebuilds the pools if the operator's fields changed. It returns the record as it is to
// be: with the tokens of memory, if the store has lost them.
func (s *Store) take(a *account, r stored) stored {
	if err := r.record.Broken(); err != nil {
		s.unusable(a, err, r)
		return r
	}
	r.record = a.standIn(r.record)
	known, told := a.at() != 0, a.rejection()
	changed, l := a.adopt(r, &s.cfg)
	s.reconsider(a, false)
	if now := a.rejection(); known && now != nil && (told == nil || !told.At.Equal(now.At)) {
		s.event("credential_rejected", a, zap.String("error", now.Error))
	}
	if changed {
		s.rebuildSoon()
	}
	s.tellRemarks(a)
	s.renewals.wake(a)
	if l != nil {
		s.event("rotation_restored", a)
		s.regain(a)
		r.record = l.entry.Record
		return r
	}
	s.settleOrphans(a, r.version)
	a.mu.Lock()
	defer a.mu.Unlock()
	if l = a.regainLocked(r); l != nil { // memory has met this version already
		r.record = l.entry.Record
	}
	return r
}

// landed ends the saving phase of a flight: changes of the record are adopted again.
func (s *Store) landed(a *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != nil {
		a.flight.saving = false
	}
}

// pauseForStore waits for d, for the store to be back, or for the store's end.
func (s *Store) pauseForStore(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.contact.returns():
	case <-s.life.Done():
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
