package rotation

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// commit saves a rotation that is already used from memory, on top of the version that carries our claim; 0: of
// whatever is stored now, if it still holds a credential that is spent. It gives up only when the account is gone, when
// somebody replaced the credential, or when the process's time is up: then the journal has it.
func (k *Keeper) commit(a *Account, e JournalEntry, version record.Version, j *journalling) {
	next, waits, conflicts := e.Record, 0, 0
	for k.life.Err() == nil {
		var err error
		if version == 0 { // a version alone does not tell: records can be made anew up to the same number
			cur, found, rerr := k.rebase(a, e)
			switch {
			case rerr != nil:
			case found == foundGone:
				k.orphan(a, e, waits)
				return
			case found == foundDone:
				k.committed(a, e, waits, j, "account_adopted")
				return
			default:
				next, version = a.look().rebased(cur.record, e, time.Now()), cur.version
			}
			err = rerr
		}
		if err == nil {
			saved, werr := k.write(a.id, next, version, e.Attempt)
			if werr == nil {
				k.takeSaved(a, e, saved)
				k.committed(a, e, waits, j, "rotation_saved")
				return
			}
			err, version = werr, 0
			if errors.Is(err, ErrConflict) {
				k.count.Conflicts.Inc()
				if conflicts++; conflicts <= 3 { // more in a row is a store that shows us old news
					continue
				}
			}
		}
		if waits++; waits == 1 {
			k.change(a, func(l *lifecycle, _ time.Time) { l.stuck = l.flight != nil })
			k.unsaved.Add(1)
			k.count.Unsaved.Inc()
			k.host.Event("rotation_unsaved", a, zap.Error(err))
		}
		if j.failed() {
			j = k.journalise(a, e)
		}
		k.pauseForStore(backoff(waits, 50*time.Millisecond, 5*time.Second, 0, k.cfg.Random()))
	}
}

// committed ends a commit. Nothing is said of one that took no waiting: the steady state is silent.
func (k *Keeper) committed(a *Account, e JournalEntry, waits int, j *journalling, event string) {
	k.noLongerUnsaved(waits)
	if waits > 0 || event != "rotation_saved" {
		k.host.Event(event, a)
	}
	j.then(func() { k.unjournal(a, e.Attempt) })
}

func (k *Keeper) noLongerUnsaved(waits int) {
	if waits > 0 {
		k.unsaved.Add(-1)
		k.count.Unsaved.Dec()
	}
}

// What a commit finds in its way.
type foundThere int

const (
	foundOld foundThere = iota // what we spent: to be replaced
	// nothing to save any more: it is saved, or the credential was replaced by the operator or a peer
	foundDone
	foundGone // no record
)

// rebase reads what stands in the way of a commit. An error means: try again later. A record that is deleted for now
// (undelete brings it back) or whose credential cannot be read is waited for, since it may come back with the
// credential that we spent. What else is wrong with it does not matter: nothing but the service's own keys is written.
func (k *Keeper) rebase(a *Account, e JournalEntry) (cur stored, found foundThere, err error) {
	k.change(a, func(l *lifecycle, _ time.Time) { l.memory.spend(e.Record.Rotation.Spent...) })
	cur, err = k.read(a.id)
	switch {
	case errors.Is(err, ErrNotFound):
		return cur, foundGone, nil
	case err == nil, record.Legible(cur.record, err) && !cur.record.Slipped("refresh_token"):
	case errors.Is(err, ErrDeleted), errors.Is(err, record.ErrUnreadable):
		k.change(a, func(l *lifecycle, _ time.Time) { l.saving = false })
		k.unusable(a, err, cur)
		return cur, foundOld, err
	case err != nil:
		return cur, foundOld, err
	}
	now, ours := cur.record.Rotation, e.Record.Rotation
	credential := record.Fingerprint(a.id, cur.record.Credential())
	rotated := record.Fingerprint(a.id, e.Record.Credential()) != e.Spent
	switch {
	case now.WriteID == e.Attempt: // saved, and its answer was lost
	case rotated && (credential == e.Spent || a.look().memory.isSpent(credential)): // whoever wrote it, in any incarnation
		return cur, foundOld, nil
	case rotated && record.Outlives(cur.record, e.Record):
		return cur, foundOld, nil
	case credential == e.Spent && cur.record.Slipped("rotation"): // which incarnation it is cannot be told
		return cur, foundOld, nil
	case now.Incarnation != ours.Incarnation, credential != e.Spent, now.Generation >= ours.Generation:
	default:
		return cur, foundOld, nil
	}
	k.takeSaved(a, e, cur)
	return cur, foundDone, nil
}

// replay finishes what an earlier process left in the journal: the flights' last step, for as long as it takes.
func (k *Keeper) replay() {
	entries, err := k.journal.Entries()
	if err != nil {
		k.log.Error("the journal holds entries that cannot be read: the accounts they belong to may need a new login",
			zap.Error(err))
	}
	byAccount := map[record.ID][]JournalEntry{}
	for _, e := range entries {
		byAccount[e.Account] = append(byAccount[e.Account], e)
	}
	for id, es := range byAccount {
		a := k.ensure(id)
		k.change(a, func(l *lifecycle, _ time.Time) {
			k.save(a, l, func() {
				for _, e := range es {
					k.log.Warn("a rotation was left in the journal by an earlier process: saving it",
						zap.String("account", string(id)))
					k.commit(a, e, 0, nil)
				}
			})
		})
	}
}
