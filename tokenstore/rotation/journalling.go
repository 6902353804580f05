package rotation

import (
	"time"

	"go.uber.org/zap"
)

// journalPatience is how long a commit waits for the journal's disk, so that one that hangs does not keep a rotation
// out of a store that works.
const journalPatience = 2 * time.Second

// journalling is an entry on its way into the journal; nil: it is there.
type journalling struct {
	done chan struct{}
	err  error // valid after done
}

// journalise writes a received rotation to the journal. If that fails the commit is the only way to keep it.
func (k *Keeper) journalise(a *Account, e JournalEntry) *journalling {
	j := &journalling{done: make(chan struct{})}
	go func() {
		defer close(j.done)
		j.err = k.journal.Append(e)
		k.journalAnswered(a, j.err)
	}()
	limit := time.NewTimer(journalPatience)
	defer limit.Stop()
	select {
	case <-j.done:
	case <-limit.C:
		k.journalAnswered(a, errJournalHangs)
	}
	return j
}

// failed reports whether the entry did not get there.
func (j *journalling) failed() bool {
	if j == nil {
		return false
	}
	select {
	case <-j.done:
		return j.err != nil
	default:
		return false
	}
}

// then calls f when the entry is in the journal or never will be.
func (j *journalling) then(f func()) {
	if j == nil {
		f()
		return
	}
	select {
	case <-j.done:
		f()
	default:
		go func() { <-j.done; f() }()
	}
}

func (k *Keeper) journalAnswered(a *Account, err error) {
	if was := k.journalDown.Swap(err != nil); err != nil && !was {
		k.log.Error("the journal cannot be written: a crash before a rotation is saved would lose its account",
			zap.String("account", string(a.id)), zap.Error(err))
	} else if err == nil && was {
		k.log.Warn("the journal can be written again")
	}
}

func (k *Keeper) unjournal(a *Account, attempt string) {
	if err := k.journal.Remove(attempt); err != nil {
		k.log.Warn("a saved rotation could not be taken out of the journal; the next start finds it done",
			zap.String("account", string(a.id)), zap.Error(err))
	}
}
