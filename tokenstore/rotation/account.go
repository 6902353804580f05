package rotation

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Account is the process's picture of one account, in two halves. What picks read is its seat; what is known of its
// credential is its life. Only Keeper.change writes the life. When answers have changed what is to be thought of the
// token, the seat's host says so by [Keeper.Replan].
type Account struct {
	Seat
	id record.ID

	mu   sync.Mutex // guards life; no I/O under it. Taken before the seat's
	life lifecycle

	due atomic.Int64 // next renewal, Unix nanoseconds; 0: none planned

	goneAt time.Time // when the record was found gone; behind the keeper's mu
}

func (k *Keeper) newAccount(id record.ID) *Account {
	a := &Account{id: id, life: lifecycle{id: id, cfg: &k.cfg, lives: &k.lives}}
	a.Seat = k.host.NewSeat(a)
	return a
}

// change is the only way to alter what is known of an account's credential: transition, derive, publish. What follows
// for picks, pools and the schedule is derived here, so that no caller can forget it. f must not block, and must not
// call change.
func (k *Keeper) change(a *Account, f func(l *lifecycle, now time.Time)) {
	if moved := a.change(f); moved {
		k.host.Moved()
	}
	k.renewals.wake(a)
}

// change reports whether the account serves others than before. Whatever panics under the lock leaves it free.
func (a *Account) change(f func(l *lifecycle, now time.Time)) (moved bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, now := &a.life, time.Now()
	was := l.membership()
	l.heed(a.Objections(), now)
	f(l, now)
	if l.pardon != PardonNothing {
		a.Pardon(l.pardon, now)
		l.heed(a.Objections(), now)
		l.pardon = PardonNothing
	}
	v := l.view(now)
	a.Publish(v, now) // under the lock, so that views arrive in the order of the transitions
	a.due.Store(nanos(v.Due))
	return !l.membership().equal(was)
}

// Replan plans an account's refreshes anew: what answers say of it has changed, or the clock has moved.
func (k *Keeper) Replan(a *Account) { k.change(a, func(*lifecycle, time.Time) {}) }

// look is a copy of what is known of the account's credential.
func (a *Account) look() *lifecycle {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.life
	return &l
}

// Member says which pools the account belongs to.
func (a *Account) Member() Membership {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.life.membership()
}

// Membership is what pools need to know of an account.
type Membership struct {
	Usable   bool
	Provider string
	Pools    []string
	Tenant   string
}

func (l *lifecycle) membership() Membership {
	r := l.record
	return Membership{l.usable(), r.Provider, r.Serves(), r.Tenant}
}

func (m Membership) equal(n Membership) bool {
	return m.Usable == n.Usable && m.Provider == n.Provider && m.Tenant == n.Tenant && slices.Equal(m.Pools, n.Pools)
}

// nanos is an instant in Unix nanoseconds; 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
