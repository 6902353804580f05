package rotation

import (
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Journal keeps rotations that were received and are not yet in the backend, so that they outlive the process.
// Implementations are safe for concurrent use, also by several processes that share one.
type Journal interface {
	// Append makes the entry durable before it returns. An entry of the same attempt is replaced.
	Append(e JournalEntry) error
	// Remove forgets an attempt's entry. No error if there is none.
	Remove(attempt string) error
	// Entries returns the entries that can be read, oldest first, together with an error that names those that cannot.
	Entries() ([]JournalEntry, error)
}

// JournalEntry is one received rotation.
type JournalEntry struct {
	Attempt string        // the claim's attempt id; also the write id of the commit, which recognises it in the backend
	Account record.ID     //
	Spent   string        // fingerprint of the credential that was redeemed
	At      time.Time     // when, UTC
	Record  record.Record // as it is to be saved: the new tokens in it, the claim cleared
}

var errJournalHangs = errors.New("it does not answer")

// noJournal stands for a journal that was switched off.
type noJournal struct{}

func (noJournal) Append(JournalEntry) error        { return nil }
func (noJournal) Remove(string) error              { return nil }
func (noJournal) Entries() ([]JournalEntry, error) { return nil, nil }
