package tokenstoretest

import (
	"slices"
	"sync"

	"github.com/tokenward/tokenward/tokenstore"
)

// Journal is a tokenstore.Journal in memory. The zero value is empty and ready.
type Journal struct {
	// Before, when set, is called before each Append; its error is the call's.
	Before func() error

	mu      sync.Mutex // guards entries
	entries []tokenstore.JournalEntry
}

// Append implements tokenstore.Journal.
func (j *Journal) Append(e tokenstore.JournalEntry) error {
	if j.Before != nil {
		if err := j.Before(); err != nil {
			return err
		}
	}
	_ = j.Remove(e.Attempt)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return nil
}

// Remove implements tokenstore.Journal.
func (j *Journal) Remove(attempt string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = slices.DeleteFunc(j.entries, func(e tokenstore.JournalEntry) bool { return e.Attempt == attempt })
	return nil
}

// Entries implements tokenstore.Journal.
func (j *Journal) Entries() ([]tokenstore.JournalEntry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries), nil
}
