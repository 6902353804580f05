package tokenstore

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// storeTimeout bounds one call of the backend.
const storeTimeout = 10 * time.Second

func newID() string { return rand.Text()[:16] }

func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most]
	}
	return s
}

func (s *Store) load(id AccountID) (Record, Version, error) {
	ctx, cancel := context.WithTimeout(s.life, storeTimeout)
	defer cancel()
	started := time.Now()
	r, v, err := s.backend.Load(ctx, id)
	s.stored("load", started, err)
	return r, v, err
}

// write stores the record under a fresh write id. The answer of a successful write may get lost: whatever error comes, a
// record that carries our write id is ours.
func (s *Store) write(id AccountID, r *Record, expect Version) (Version, error) {
	if r.Rotation.Incarnation == "" {
		r.Rotation.Incarnation = newID()
	}
	r.Rotation.WriteID, r.Rotation.Writer = newID(), s.cfg.Holder
	ctx, cancel := context.WithTimeout(s.life, storeTimeout)
	defer cancel()
	started := time.Now()
	v, err := s.backend.CompareAndSwap(ctx, id, *r, expect)
	s.stored("write", started, err)
	if err == nil {
		return v, nil
	}
	if cur, v, lerr := s.load(id); lerr == nil && cur.Rotation.WriteID == r.Rotation.WriteID {
		return v, nil
	}
	return 0, err
}

// take adopts a record into memory and rebuilds the pools if the operator's fields changed.
func (s *Store) take(a *account, r Record, v Version) {
	if a.adopt(r, v, s.cfg.Drivers, s.cfg.Renewal.Lead) {
		s.rebuildSoon()
	}
	s.renewals.wake(a)
}

// saved ends the saving phase of a flight: memory and backend agree again.
func (s *Store) saved(a *account, r Record, v Version) {
	s.landed(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record, a.version = r, v
}

// landed lets changes of the record be adopted again.
func (s *Store) landed(a *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != nil {
		a.flight.saving = false
	}
}

// saveCondemned writes a quarantine that the provider's answers, not the token endpoint's, gave cause for.
func (s *Store) saveCondemned(a *account, fingerprint string) {
	for range 5 {
		r, v, err := s.load(a.id)
		if err != nil || Fingerprint(a.id, r.Credential()) != fingerprint {
			return // gone, or the operator was quicker
		}
		r.Rotation.Last = &Outcome{
			At: time.Now().UTC(), Trigger: TriggerResponse, Result: "failed", Class: RefreshPermanent,
			Error: "its tokens are refused right after a refresh", Fingerprint: fingerprint,
		}
		v, err = s.write(a.id, &r, v)
		if err == nil {
			s.take(a, r, v)
			return
		}
		if !errors.Is(err, ErrConflict) {
			return
		}
	}
}

func (a *account) setRetry(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retryAt = at
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

// NewIncarnation returns the random mark of a record whose credential an operator has just written.
func NewIncarnation() string { return newID() }
