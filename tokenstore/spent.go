package tokenstore

import (
	"hash/fnv"
	"slices"
	"time"

	"go.uber.org/zap"
)

// A store can go back in time: a snapshot is restored, an operator rolls a record back or writes what was read before a
// rotation. Then it shows a refresh token that is spent and whose successor is in memory. Presenting it would make a strict
// provider revoke the account, so memory's token is put back instead. And a record that is gone may come back: what is known
// of it, and its journalled rotation, are kept for a while.

const (
	spentKept  = 128                // credentials that an account remembers
	spentTold  = 16                 // of them, those in the record
	orphanLife = 7 * 24 * time.Hour // how long an account that is gone is remembered, and its rotation journalled
)

// lost is a rotation that was saved and is in memory only again.
type lost struct {
	entry   JournalEntry
	version Version // of the record without it
}

// spendLocked remembers that credentials were exchanged for others.
func (a *account) spendLocked(fingerprints ...string) {
	for _, f := range fingerprints {
		if x := short(f); !slices.Contains(a.spent, x) {
			a.spent = append(a.spent[max(0, len(a.spent)-spentKept+1):], x)
		}
	}
}

// short is a fingerprint in the few bytes that many accounts can afford many of.
func short(fingerprint string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(fingerprint)) // never fails
	return h.Sum64()
}

func (a *account) isSpentLocked(fingerprint string) bool {
	return slices.Contains(a.spent, short(fingerprint))
}

func (a *account) spend(fingerprints ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spendLocked(fingerprints...)
}

func (a *account) isSpent(fingerprint string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.isSpentLocked(fingerprint)
}

// tellSpent adds a credential that is exchanged now to those that the record tells.
func tellSpent(r *Record, fingerprints ...string) {
	for _, f := range fingerprints {
		if !slices.Contains(r.Rotation.Spent, f) {
			r.Rotation.Spent = append(r.Rotation.Spent, f)
		}
	}
	r.Rotation.Spent = slices.Clone(r.Rotation.Spent[max(0, len(r.Rotation.Spent)-spentTold):])
}

// regainLocked returns what to make of a record that shows a spent credential although memory has its living successor;
// nil: it does not.
func (a *account) regainLocked(r stored) *lost {
	shown := Fingerprint(a.id, r.record.Credential())
	if !a.isSpentLocked(shown) || a.quarantine != "" || a.record.Credential().IsZero() || r.record.Provider != a.record.Provider || a.isSpentLocked(Fingerprint(a.id, a.record.Credential())) {
		return nil
	}
	return &lost{JournalEntry{Attempt: newID(), Account: a.id, Spent: shown, At: time.Now().UTC(), Record: graft(r.record, a.record)}, r.version}
}

// inherit takes over what an account that is gone knew of spent credentials and its living one, and what its limits counted;
// otherwise an account that comes back is a new one. a is not in use yet.
func (a *account) inherit(gone *account) {
	gone.mu.Lock()
	defer gone.mu.Unlock()
	a.record, a.spent, a.orphans, a.highest, a.quarantine = gone.record, gone.spent, gone.orphans, gone.highest, gone.quarantine
	a.limits.Store(gone.limits.Load())
}

// regained notes that a claim has written memory's record: nothing is lost any more.
func (a *account) regained() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lost = nil
}

// regain saves what the store has lost, now or when the account's flight is over.
func (s *Store) regain(a *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.lost
	if l == nil || a.flight != nil {
		return
	}
	a.lost = nil
	s.saveLocked(a, func() { s.commit(a, l.entry, l.version, s.journalise(a, l.entry)) })
}

// orphan ends the commit of a rotation whose account is gone. If that was an accident the record comes back, with the
// credential that was spent.
func (s *Store) orphan(a *account, e JournalEntry, waits int) {
	s.noLongerUnsaved(waits)
	s.landed(a)
	if time.Since(e.At) > orphanLife {
		s.unjournal(a, e.Attempt)
	} else {
		s.log.Warn("an account with an unsaved rotation is gone from the store; the journal keeps it for a week, in case the record comes back", zap.String("account", string(a.id)))
	}
	a.mu.Lock()
	a.spendLocked(e.Record.Rotation.Spent...)
	if a.record.Provider == "" || a.isSpentLocked(Fingerprint(a.id, a.record.Credential())) { // known from the journal only, perhaps from an older entry
		a.record = e.Record
	}
	a.orphans = append(a.orphans, e.Attempt)
	a.mu.Unlock()
	s.remove(a.id)
}

// settleOrphans empties the journal of rotations that the account's record, back in this version, shows to be saved or
// replaced.
func (s *Store) settleOrphans(a *account, version Version) {
	a.mu.Lock()
	var attempts []string
	if a.version == version && a.lost == nil {
		attempts, a.orphans = a.orphans, nil
	}
	a.mu.Unlock()
	for _, attempt := range attempts {
		s.unjournal(a, attempt)
	}
}
