package tokenstore

import (
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// journalise writes a received rotation to the journal. If that fails the commit is the only way to keep it.
func (s *Store) journalise(a *account, e JournalEntry) {
	if err := s.journal.Append(e); err != nil {
		s.log.Error("the journal cannot be written: a crash before the rotation is saved would lose this account", zap.String("account", string(a.id)), zap.Error(err))
	}
}

// commit saves a rotation that is already used from memory, on top of the version that carries our claim; 0: of whatever is
// stored now, if it still holds the credential that was spent. It gives up only when the account is gone, when somebody
// replaced the credential, or when the process's time is up: then the journal has it.
func (s *Store) commit(a *account, e JournalEntry, version Version) {
	next, waits := e.Record, 0
	for s.life.Err() == nil {
		saved, err := stored{}, ErrConflict
		if version != 0 {
			saved, err = s.write(a.id, next, version, e.Attempt)
		}
		if err == nil {
			s.landed(a)
			s.take(a, saved)
			s.committed(a, e, waits, "rotation_saved")
			return
		}
		if errors.Is(err, ErrConflict) {
			s.metrics.conflicts.Inc()
			cur, void, rerr := s.rebase(a, e)
			if void {
				s.committed(a, e, waits, "account_adopted")
				return
			}
			if rerr == nil {
				next, version = graft(cur.record, e.Record), cur.version
				continue
			}
			err = rerr
		}
		if waits++; waits == 1 {
			s.unsaved.Add(1)
			s.metrics.unsaved.Inc()
			s.event("rotation_unsaved", a, zapError(err))
		}
		pause(s.life, backoff(waits, 50*time.Millisecond, 5*time.Second, 0, rand.Float64())) //nolint:gosec // jitter
	}
}

// committed ends a commit. Nothing is said of one that took no waiting: the steady state is silent.
func (s *Store) committed(a *account, e JournalEntry, waits int, event string) {
	if waits > 0 {
		s.unsaved.Add(-1)
		s.metrics.unsaved.Dec()
	}
	if waits > 0 || event != "rotation_saved" {
		s.event(event, a)
	}
	if err := s.journal.Remove(e.Attempt); err != nil {
		s.log.Warn("a saved rotation could not be taken out of the journal; the next start finds it done", zap.String("account", string(a.id)), zap.Error(err))
	}
}

// graft puts a rotation's tokens onto a record that somebody edited meanwhile.
func graft(onto, rotated Record) Record {
	next := onto.Clone()
	next.AccessToken, next.TokenType, next.ObtainedAt, next.ExpiresAt = rotated.AccessToken, rotated.TokenType, rotated.ObtainedAt, rotated.ExpiresAt
	next.RefreshToken, next.Scope = rotated.RefreshToken, rotated.Scope
	next.Rotation.Generation, next.Rotation.Claim, next.Rotation.Last = rotated.Rotation.Generation, nil, rotated.Rotation.Last
	return next
}

// rebase reads what stands in the way of a commit. void means that there is nothing to save any more: the account is gone,
// it is saved already, or the operator or a peer replaced the credential that we spent. An error means: try again later. A
// record that is deleted for now (undelete brings it back) or cannot be read is waited for, since it may come back with the
// credential that we spent.
func (s *Store) rebase(a *account, e JournalEntry) (cur stored, void bool, err error) {
	cur, err = s.load(a.id)
	switch {
	case errors.Is(err, ErrNotFound):
		s.remove(a.id)
		return cur, true, nil
	case errors.Is(err, ErrDeleted), errors.Is(err, ErrUnreadable):
		s.landed(a)
		s.unusable(a, err, cur)
		return cur, false, err
	case err != nil:
		return cur, false, err
	}
	now, ours := cur.record.Rotation, e.Record.Rotation
	switch {
	case now.WriteID == e.Attempt: // saved, and its answer was lost
	case now.Incarnation != ours.Incarnation, Fingerprint(a.id, cur.record.Credential()) != e.Spent, now.Generation >= ours.Generation:
	default:
		return cur, false, nil
	}
	s.landed(a)
	s.take(a, cur)
	return cur, true, nil
}

// replay finishes what an earlier process left in the journal: the flights' last step, for as long as it takes.
func (s *Store) replay() {
	entries, err := s.journal.Entries()
	if err != nil {
		s.log.Error("the journal holds entries that cannot be read: the accounts they belong to may need a new login", zap.Error(err))
	}
	byAccount := map[AccountID][]JournalEntry{}
	for _, e := range entries {
		byAccount[e.Account] = append(byAccount[e.Account], e)
	}
	for id, es := range byAccount {
		a := s.ensure(id)
		f := newFlight(TriggerSchedule)
		f.saving = true
		f.finish(RefreshResult{ID: id, Outcome: Adopted})
		if !s.begin() {
			return
		}
		a.mu.Lock()
		a.flight = f
		a.planLocked(s.cfg.Renewal.Lead)
		a.mu.Unlock()
		s.renewals.wake(a)
		go s.fly(a, f, func() {
			for _, e := range es {
				s.log.Warn("a rotation was left in the journal by an earlier process: saving it", zap.String("account", string(id)))
				s.commit(a, e, 0)
			}
		})
	}
}
