package tokenstore

import (
	"errors"
	"time"

	"go.uber.org/zap"
)

// commit saves a rotation that is already used from memory, on top of the version that carries our claim; 0: of whatever is
// stored now, if it still holds a credential that is spent. It gives up only when the account is gone, when somebody replaced
// the credential, or when the process's time is up: then the journal has it.
func (s *Store) commit(a *account, e JournalEntry, version Version, j *journalling) {
	next, waits, conflicts := e.Record, 0, 0
	for s.life.Err() == nil {
		var err error
		if version == 0 { // a version alone does not tell: records can be made anew up to the same number
			cur, found, rerr := s.rebase(a, e)
			switch {
			case rerr != nil:
			case found == foundGone:
				s.orphan(a, e, waits)
				return
			case found == foundDone:
				s.committed(a, e, waits, j, "account_adopted")
				return
			default:
				next, version = a.rebased(cur.record, e), cur.version
			}
			err = rerr
		}
		if err == nil {
			saved, werr := s.write(a.id, next, version, e.Attempt)
			if werr == nil {
				s.landed(a)
				s.take(a, saved)
				s.committed(a, e, waits, j, "rotation_saved")
				return
			}
			err, version = werr, 0
			if errors.Is(err, ErrConflict) {
				s.metrics.conflicts.Inc()
				if conflicts++; conflicts <= 3 { // more in a row is a store that shows us old news
					continue
				}
			}
		}
		if waits++; waits == 1 {
			s.stuck(a)
			s.unsaved.Add(1)
			s.metrics.unsaved.Inc()
			s.event("rotation_unsaved", a, zapError(err))
		}
		if j.failed() {
			j = s.journalise(a, e)
		}
		s.pauseForStore(backoff(waits, 50*time.Millisecond, 5*time.Second, 0, s.cfg.Random()))
	}
}

// stuck marks a save that takes long: picks and reports do not wait for its end.
func (s *Store) stuck(a *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != nil {
		a.flight.stuck = true
		a.planLocked(s.cfg.Renewal.Lead)
	}
}

// committed ends a commit. Nothing is said of one that took no waiting: the steady state is silent.
func (s *Store) committed(a *account, e JournalEntry, waits int, j *journalling, event string) {
	s.noLongerUnsaved(waits)
	if waits > 0 || event != "rotation_saved" {
		s.event(event, a)
	}
	j.then(func() { s.unjournal(a, e.Attempt) })
}

func (s *Store) noLongerUnsaved(waits int) {
	if waits > 0 {
		s.unsaved.Add(-1)
		s.metrics.unsaved.Dec()
	}
}

// graft puts a rotation's tokens onto a record that somebody edited meanwhile.
func graft(onto, rotated Record) Record {
	next := onto.Clone()
	next.AccessToken, next.TokenType, next.ObtainedAt, next.ExpiresAt = rotated.AccessToken, rotated.TokenType, rotated.ObtainedAt, rotated.ExpiresAt
	next.Mend("access_token", "token_type", "obtained_at", "expires_at", "former")
	next.RefreshToken, next.Former = rotated.RefreshToken, rotated.Former.clone()
	if !next.Slipped("scope") {
		next.Scope = rotated.Scope
	}
	next.Rotation.Generation, next.Rotation.Claim = rotated.Rotation.Generation, nil
	next.Rotation.Last, next.Rotation.Dead = rotated.Rotation.Last, rotated.Rotation.Dead
	tellSpent(&next, rotated.Rotation.Spent...)
	return next
}

// What a commit finds in its way.
type foundThere int

const (
	foundOld  foundThere = iota // what we spent: to be replaced
	foundDone                   // nothing to save any more: it is saved, or the credential was replaced by the operator or a peer
	foundGone                   // no record
)

// rebase reads what stands in the way of a commit. An error means: try again later. A record that is deleted for now
// (undelete brings it back) or whose credential cannot be read is waited for, since it may come back with the credential that
// we spent. What else is wrong with it does not matter: nothing but the service's own keys is written.
func (s *Store) rebase(a *account, e JournalEntry) (cur stored, found foundThere, err error) {
	a.spend(e.Record.Rotation.Spent...)
	cur, err = s.load(a.id)
	switch {
	case errors.Is(err, ErrNotFound):
		return cur, foundGone, nil
	case err == nil, legible(cur.record, err) && !cur.record.Slipped("refresh_token"):
	case errors.Is(err, ErrDeleted), errors.Is(err, ErrUnreadable):
		s.landed(a)
		s.unusable(a, err, cur)
		return cur, foundOld, err
	case err != nil:
		return cur, foundOld, err
	}
	now, ours := cur.record.Rotation, e.Record.Rotation
	credential := Fingerprint(a.id, cur.record.Credential())
	rotated := Fingerprint(a.id, e.Record.Credential()) != e.Spent
	switch {
	case now.WriteID == e.Attempt: // saved, and its answer was lost
	case rotated && (credential == e.Spent || a.isSpent(credential)): // whoever wrote it, and in whichever incarnation
		return cur, foundOld, nil
	case rotated && outlives(cur.record, e.Record):
		return cur, foundOld, nil
	case credential == e.Spent && cur.record.Slipped("rotation"): // which incarnation it is cannot be told
		return cur, foundOld, nil
	case now.Incarnation != ours.Incarnation, credential != e.Spent, now.Generation >= ours.Generation:
	default:
		return cur, foundOld, nil
	}
	s.landed(a)
	s.take(a, cur)
	return cur, foundDone, nil
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
		a.mu.Lock()
		s.saveLocked(a, func() {
			for _, e := range es {
				s.log.Warn("a rotation was left in the journal by an earlier process: saving it", zap.String("account", string(id)))
				s.commit(a, e, 0, nil)
			}
		})
		a.mu.Unlock()
	}
}

// saveLocked runs a flight that has nothing to do but to save, unless the store is stopping. There must be no other: two
// flights of one account could spend one credential.
func (s *Store) saveLocked(a *account, work func()) {
	f := newFlight(TriggerSchedule)
	f.saving = true
	f.finish(RefreshResult{ID: a.id, Outcome: Adopted})
	if !s.begin() {
		return
	}
	a.flight = f
	a.planLocked(s.cfg.Renewal.Lead)
	go func() {
		s.renewals.wake(a)
		s.fly(a, f, work)
	}()
}
