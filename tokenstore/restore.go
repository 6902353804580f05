package tokenstore

import (
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// This file saves again what the store has lost: see memory.

// restore saves what the store has lost, now or when the account's flight is over.
func (s *Store) restore(a *account) {
	s.change(a, func(l *lifecycle, _ time.Time) {
		if lost := l.takeLost(); lost != nil {
			s.save(a, l, func() { s.commit(a, lost.entry, lost.version, s.journalise(a, lost.entry)) })
		}
	})
}

// orphan ends the commit of a rotation whose account is gone. If that was an accident the record comes back, with the
// credential that was spent.
func (s *Store) orphan(a *account, e JournalEntry, waits int) {
	s.noLongerUnsaved(waits)
	if time.Since(e.At) > orphanLife {
		s.unjournal(a, e.Attempt)
	} else {
		s.log.Warn("an account with an unsaved rotation is gone from the store; the journal keeps it for a week, in case the record comes back",
			zap.String("account", string(a.id)))
	}
	s.change(a, func(l *lifecycle, _ time.Time) {
		l.saving = false
		l.orphaned(e)
	})
	s.remove(a.id)
}

// settleOrphans empties the journal of rotations that the account's record, back in this version, shows to be saved or
// replaced.
func (s *Store) settleOrphans(a *account, version record.Version) {
	if len(a.look().memory.orphans) == 0 {
		return
	}
	var attempts []string
	s.change(a, func(l *lifecycle, _ time.Time) { attempts = l.takeOrphans(version) })
	for _, attempt := range attempts {
		s.unjournal(a, attempt)
	}
}
