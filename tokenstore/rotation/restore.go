package rotation

import (
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// This file saves again what the store has lost: see memory.

// restore saves what the store has lost, now or when the account's flight is over.
func (k *Keeper) restore(a *Account) {
	k.change(a, func(l *lifecycle, _ time.Time) {
		if lost := l.takeLost(); lost != nil {
			k.save(a, l, func() { k.commit(a, lost.entry, lost.version, k.journalise(a, lost.entry)) })
		}
	})
}

// orphan ends the commit of a rotation whose account is gone. If that was an accident the record comes back, with the
// credential that was spent.
func (k *Keeper) orphan(a *Account, e JournalEntry, waits int) {
	k.noLongerUnsaved(waits)
	if time.Since(e.At) > orphanLife {
		k.unjournal(a, e.Attempt)
	} else {
		k.log.Warn(
			"an account with an unsaved rotation is gone from the store; the journal keeps it for a week, in case the "+
				"record comes back",
			zap.String("account", string(a.id)),
		)
	}
	k.change(a, func(l *lifecycle, _ time.Time) {
		l.saving = false
		l.orphaned(e)
	})
	k.remove(a.id)
}

// settleOrphans empties the journal of rotations that the account's record, back in this version, shows to be saved or
// replaced.
func (k *Keeper) settleOrphans(a *Account, version record.Version) {
	if len(a.look().memory.orphans) == 0 {
		return
	}
	var attempts []string
	k.change(a, func(l *lifecycle, _ time.Time) { attempts = l.takeOrphans(version) })
	for _, attempt := range attempts {
		k.unjournal(a, attempt)
	}
}
