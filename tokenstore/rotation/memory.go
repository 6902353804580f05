package rotation

import (
	"hash/fnv"
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// A store can go back in time: a snapshot is restored, an operator rolls a record back or writes what was read before a
// rotation. Then it shows a refresh token that is spent and whose successor is in memory. Presenting it would make a
// strict provider revoke the account, so memory's token is put back instead. And a record that is gone may come back:
// what is known of it, and its journalled rotation, are kept for a while.

const (
	spentKept  = 128                // credentials that an account remembers
	orphanLife = 7 * 24 * time.Hour // how long an account that is gone is remembered, and its rotation journalled
)

// memory is what is known of an account beyond its record.
type memory struct {
	spent   []uint64 // short fingerprints of credentials that were exchanged for others, the latest last
	lost    *lost    // by the record in memory's version: to be saved again; nil: nothing
	orphans []string // attempts whose rotations wait in the journal for the record to come back
}

// lost is a rotation that was saved once, and that the store does not show any more: memory alone has it.
type lost struct {
	entry   JournalEntry
	version record.Version // of the record without it
}

// spend remembers that credentials were exchanged for others.
func (m *memory) spend(fingerprints ...string) {
	for _, f := range fingerprints {
		if x := short(f); !slices.Contains(m.spent, x) {
			m.spent = append(m.spent[max(0, len(m.spent)-spentKept+1):], x)
		}
	}
}

// short is a fingerprint in the few bytes that many accounts can afford many of.
func short(fingerprint string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(fingerprint)) // never fails
	return h.Sum64()
}

func (m memory) isSpent(fingerprint string) bool { return slices.Contains(m.spent, short(fingerprint)) }

// reverted returns what to make of a record that shows a spent credential although memory has its living successor;
// nil: it does not.
func (l *lifecycle) reverted(r stored, now time.Time) *lost {
	shown := record.Fingerprint(l.id, r.record.Credential())
	mine := l.record.Credential()
	switch {
	case !l.memory.isSpent(shown), l.dead(), mine.IsZero(), r.record.Provider != l.record.Provider:
		return nil
	case l.memory.isSpent(record.Fingerprint(l.id, mine)):
		return nil
	}
	again := record.Graft(r.record, l.record)
	e := JournalEntry{Attempt: record.NewID(), Account: l.id, Spent: shown, At: now.UTC(), Record: again}
	return &lost{e, r.version}
}

// takeLost takes out what is to be saved again; nil: nothing, or a flight is in the way.
func (l *lifecycle) takeLost() *lost {
	if l.flight != nil {
		return nil
	}
	lost := l.memory.lost
	l.memory.lost = nil
	return lost
}

// orphaned keeps a rotation whose account is gone, in case its record comes back.
func (l *lifecycle) orphaned(e JournalEntry) {
	l.memory.spend(e.Record.Rotation.Spent...)
	mine := record.Fingerprint(l.id, l.record.Credential())
	if l.record.Provider == "" || l.memory.isSpent(mine) { // memory has none, or an older one, perhaps from the journal
		l.record = e.Record
	}
	l.memory.orphans = append(slices.Clone(l.memory.orphans), e.Attempt)
}

// takeOrphans takes out the attempts that the journal may forget, once the account's record is back in this version: it
// shows their rotations saved, or another credential in place of theirs. nil: it does not.
func (l *lifecycle) takeOrphans(version record.Version) []string {
	if l.version != version || l.memory.lost != nil {
		return nil
	}
	attempts := l.memory.orphans
	l.memory.orphans = nil
	return attempts
}
