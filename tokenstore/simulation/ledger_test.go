package simulation

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// ledger is the history, as the judges need it.
type ledger struct {
	plan      plan
	presented []*presentation
	ends      []familyEnd
	foreign   []string
	waits     []wait
	refusals  []refusal
	picks     []pick
	writes    []write
	settled   time.Duration // from here on nobody may wait
	final     []standing
	journals  []int // entries left, by service
	unsaved   []string
}

// familyEnd is a sign-in that ended since a token of it was presented twice.
type familyEnd struct {
	account int
	at      time.Duration
	by      *presentation
	first   *presentation // the use that spent it
}

// wait is a call and how long it took.
type wait struct {
	by, what        string
	at, took, limit time.Duration
}

type refusal struct {
	by     *life
	at     time.Duration
	route  string
	first  bool // no attempt had been made
	reason tokenstore.Reason
}

type pick struct {
	by         *life
	at         time.Duration
	account    int
	generation tokenstore.Generation
	took       time.Duration
}

// write is a service's write that took effect.
type write struct {
	by         string
	at         time.Duration
	account    int
	owner      int // of the refresh token in it; -1: nobody knows it
	generation tokenstore.Generation
}

// standing is what a service says of an account in the end, and the truth.
type standing struct {
	by       string
	account  int
	state    tokenstore.AccountState
	reason   string
	routable bool
	token    *refreshToken // in the store; nil: none that was issued
	absent   bool
}

func newLedger(p plan) *ledger { return &ledger{plan: p} }

func (l *ledger) wrote(by *life, account int, r tokenstore.Record, _ kind) {
	owner := -1
	if t := by.w.as.refresh[r.RefreshToken.Reveal()]; t != nil {
		owner = t.family.account
	}
	l.writes = append(l.writes, write{by: by.name, at: by.w.now(), account: account, owner: owner, generation: r.Rotation.Generation})
}

// testify asks every living service about every account. The lock is held.
func (w *world) testify() {
	for _, s := range w.services {
		l := s.now
		if l == nil {
			continue
		}
		for _, why := range l.store.Degraded() {
			w.ledger.unsaved = append(w.ledger.unsaved, l.name+": "+why)
		}
		for i := range w.plan.policies {
			id := tokenstore.AccountID(accountID(i))
			st := standing{by: l.name, account: i}
			if doc := w.shelf.Document(id); doc != nil {
				r, err := decoded(doc)
				if err == nil {
					st.token = w.as.refresh[r.RefreshToken.Reveal()]
				}
			}
			status, err := l.store.Status(id)
			st.absent, st.state, st.reason, st.routable = err != nil, status.State, status.Reason, status.Routable
			w.say("%s says of %s: %s %q", l.name, id, st.state, st.reason)
			w.ledger.final = append(w.ledger.final, st)
		}
	}
}
