package simulation

import (
	"fmt"
	"slices"
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
	panics    []string
	dropped   []string          // living tokens that a service's write threw away
	edits     [][]time.Duration // of credentials, by account
	spoiled   []spoiling
	backs     []back
}

// back is a time at which an operator put a whole record in place of another: claims and rotations in that are gone
// from the store.
type back struct {
	account  int
	at       time.Duration
	restored bool // from a snapshot
}

// spoiling is the latest time that an operator gave an account what is no credential.
type spoiling struct {
	at    time.Duration
	was   *refreshToken // what it had
	keeps bool          // a service that knew it lived on, so it must be back in the end
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
	absent   bool          // the service knows no such account
	stored   bool          // there is a record
	living   bool          // the token can be exchanged
	family   bool          // its sign-in has not ended
	endless  bool          // the record does not say when its access token ends
}

func newLedger(p plan) *ledger {
	return &ledger{plan: p, edits: make([][]time.Duration, len(p.policies)), spoiled: make([]spoiling, len(p.policies))}
}

func (l *ledger) wrote(by *life, account int, was *refreshToken, r tokenstore.Record) {
	owner := -1
	if t := by.w.as.refresh[r.RefreshToken.Reveal()]; t != nil && t != was {
		owner = t.family.account
	}
	l.writes = append(l.writes, write{
		by: by.name, at: by.w.now(), account: account, owner: owner,
		generation: r.Rotation.Generation,
	})
}

// replaced notes a write that has not got the refresh token any more that was there before, although it is good.
func (l *ledger) replaced(by *life, was *refreshToken, r tokenstore.Record) {
	if was == nil || !was.living() || was.from == nil {
		// one that an operator gave may be refused, and give way to the former one
		return
	}
	if slices.Contains(by.w.as.tokensOf(r), was) {
		return
	}
	l.dropped = append(l.dropped, fmt.Sprintf("%s wrote over %s at %s, which is good", by.name, was.value, by.w.now()))
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
			_, st.stored = w.shelf.Current(id)
			doc := w.shelf.document(id)
			ends, _ := doc["expires_at"].(string)
			_, err := time.Parse(time.RFC3339, ends)
			st.token, st.endless = w.as.refresh[token(doc)], err != nil
			if st.token != nil {
				st.living, st.family = st.token.living(), st.token.family.living()
				if u := st.token.spent(); u != nil && st.family && w.now()-u.at < 10*time.Second {
					st.living = true // its refresh is under way
				}
			}
			status, err := l.store.Status(id)
			st.absent, st.state, st.reason, st.routable = err != nil, status.State, status.Reason, status.Routable
			w.say("%s says of %s: %s %q", l.name, id, st.state, st.reason)
			w.ledger.final = append(w.ledger.final, st)
			if sp := &w.ledger.spoiled[i]; st.token == nil && sp.was != nil && sp.was.from != nil && sp.was.living() &&
				!w.ledger.edited(i, sp.at+1) {
				sp.keeps = sp.keeps || l.met(sp.was, sp.at)
			}
		}
	}
}
