package chaos

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// instant is how long a process has between an answer's arrival and its journal's fsync. A kill in there loses the
// answer.
const instant = 300 * time.Millisecond

// spending is what became of one refresh token.
type spending struct {
	account   string
	family    int // the sign-in that it descends from
	sent      int // how often it reached the token endpoint
	granted   bool
	received  bool // the whole answer was written to a replica that was there
	replica   int
	at        time.Time // of the receipt
	destroyed bool      // the receiver was killed within an instant of it
	kept      bool      // the receiver was seen to save it, so its journal has it: no kill can lose it any more
	next      string    // the refresh token that was granted
}

// lost reports whether the grant was processed and maybe nobody has its answer: the one state in which an account may
// end.
func (s *spending) lost() bool { return s.granted && !s.kept && (!s.received || s.destroyed) }

// ledger is the test's own account of what the replicas and the operator did with refresh tokens.
type ledger struct {
	mu      sync.Mutex // guards what follows
	tokens  map[string]*spending
	sign    map[string]int
	deaths  map[int]time.Time // the latest of each replica
	signIns int
}

func newLedger() *ledger {
	return &ledger{tokens: map[string]*spending{}, sign: map[string]int{}, deaths: map[int]time.Time{}}
}

// signIn has the provider begin a new family; nothing can be presented of it before the ledger knows.
func (l *ledger) signIn(p *provider.Provider, account string, life time.Duration) provider.Credential {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := p.Create(account, life)
	l.signIns++
	l.sign[account]++
	l.tokens[c.RefreshToken] = &spending{account: account, family: l.sign[account]}
	return c
}

// presented notes that a refresh token reached the token endpoint and what it answered.
func (l *ledger) presented(c call, replica int, granted bool, answer []byte) *spending {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.tokens[c.token]
	if s == nil { // no token of ours: never granted, and the check for foreign tokens will see it
		s = &spending{account: c.account}
		l.tokens[c.token] = s
	}
	s.sent++
	if !granted {
		return nil
	}
	s.granted, s.replica = true, replica
	var pair struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(answer, &pair) == nil {
		s.next = pair.RefreshToken
		next := l.tokens[pair.RefreshToken]
		if next == nil { // else it was presented before we learnt of it
			next = &spending{account: s.account}
			l.tokens[pair.RefreshToken] = next
		}
		next.family = s.family
	}
	return s
}

// delivered notes that an answer goes to the replica whose request came then. One that was killed since has lost it:
// that its connection is gone is seen later than its end.
func (l *ledger) delivered(s *spending, came time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.received, s.at, s.destroyed = true, time.Now(), l.deaths[s.replica].After(came)
}

// saving notes that a replica sends a granted refresh token to Vault, which it may do only once its journal has it.
func (l *ledger) saving(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.tokens {
		if s.next == token && token != "" {
			s.kept = true
		}
	}
}

// killed notes the end of a replica: what it was given just now may be lost.
func (l *ledger) killed(replica int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaths[replica] = time.Now()
	for _, s := range l.tokens {
		if s.received && s.replica == replica && time.Since(s.at) < instant {
			s.destroyed = true
		}
	}
}

// mayBeLost reports whether the account's present family has a grant whose answer nobody may have.
func (l *ledger) mayBeLost(account string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.tokens {
		if s.account == account && s.family == l.sign[account] && s.lost() {
			return true
		}
	}
	return false
}

// sums counts grants, lost answers, and tokens presented again after their grant: excused by a lost answer, or not.
func (l *ledger) sums() (granted, lost, excused, unexcused int, wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.tokens {
		if !s.granted {
			continue
		}
		granted++
		if s.lost() {
			lost++
		}
		switch {
		case s.sent > 1 && s.lost():
			excused += s.sent - 1
		case s.sent > 1:
			unexcused += s.sent - 1
			wrong = append(wrong, s.account)
		}
	}
	return granted, lost, excused, unexcused, wrong
}
