package rotation

import (
	"slices"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// owners knows which account each refresh token belongs to. One that two accounts have would be spent by both, and a
// strict provider revokes what is spent twice: only one of them may use it.
type owners struct {
	mu      sync.Mutex // guards what follows
	of      map[uint64]*Account
	keys    map[*Account][]uint64
	waiting map[uint64][]*Account // those that show a token of another's
	waits   map[*Account]uint64   // the same, by account
}

func newOwners() *owners {
	return &owners{
		of:      map[uint64]*Account{},
		keys:    map[*Account][]uint64{},
		waiting: map[uint64][]*Account{},
		waits:   map[*Account]uint64{},
	}
}

// keyOf is what two accounts with the same refresh token have in common; 0: there is none. It never leaves memory.
func keyOf(s record.Secret) uint64 {
	if s.IsZero() {
		return 0
	}
	return short(record.Fingerprint("", s))
}

// claim notes the refresh tokens of an account's record, nil when it is gone. It returns the account that the record's
// refresh token belongs to already, nil if it is free or the account's own, and those that waited for a token which is
// free now. While accounts are loaded nobody knows who was first: then the account that shows it got the token in a
// refresh keeps it.
func (o *owners) claim(a *Account, r *record.Record, loading bool) (owner *Account, freed []*Account) {
	var tokens []uint64
	if r != nil && r.Kind.Refreshes() {
		tokens = append(tokens, keyOf(r.RefreshToken))
		if r.Former != nil {
			tokens = append(tokens, keyOf(r.Former.RefreshToken))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, waits := o.waits[a]; waits {
		delete(o.waits, a)
		if o.waiting[k] = slices.DeleteFunc(o.waiting[k], func(x *Account) bool { return x == a }); len(o.waiting[k]) == 0 {
			delete(o.waiting, k)
		}
		if other := o.of[k]; other != nil && !slices.Contains(tokens, k) {
			freed = append(freed, other) // another process may have taken a for the owner, and spent it
		}
	}
	for _, k := range o.keys[a] {
		if !slices.Contains(tokens, k) {
			delete(o.of, k)
			freed = append(freed, o.waiting[k]...)
			delete(o.waiting, k)
		}
	}
	var own []uint64
	for i, k := range tokens {
		other := o.of[k]
		switch {
		case k == 0:
		case other == nil || other == a:
			o.of[k], own = a, append(own, k)
		case i == 0 && loading && before(a, r, other):
			o.of[k], own = a, append(own, k)
			o.keys[other] = slices.DeleteFunc(slices.Clone(o.keys[other]), func(x uint64) bool { return x == k })
			freed = append(freed, other) // it has to look again
		case i == 0:
			owner = other
			o.waiting[k], o.waits[a] = append(o.waiting[k], a), k
		}
	}
	if o.keys[a] = own; len(own) == 0 {
		delete(o.keys, a)
	}
	return owner, freed
}

// owner is the account that a token belongs to; nil: nobody's.
func (o *owners) owner(key uint64) *Account {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.of[key]
}

// before reports whether a's claim to a refresh token is better than that of another account that has it in memory.
func before(a *Account, r *record.Record, other *Account) bool {
	theirs := proof(other.id, other.look().record)
	if ours := proof(a.id, *r); ours != theirs {
		return ours > theirs
	}
	return a.id < other.id
}

// proof says how likely the record's credential is the account's own: 2, the latest refresh worked with it or brought
// it; 0, that was another one; 1, there was none.
func proof(id record.ID, r record.Record) int {
	switch last := r.Rotation.Last; {
	case last == nil:
		return 1
	case last.Result == "succeeded" && last.Fingerprint == record.Fingerprint(id, r.Credential()):
		return 2
	}
	return 0
}

// mostSearched is how many accounts are searched for a token that one of them has spent: some milliseconds for each
// that is given.
const mostSearched = 10_000

const oneOwner = ", and a refresh token has one owner: give this account one of its own, or remove it"

// own looks whether the refresh token that an account shows is another's, or, with thorough, was.
func (k *Keeper) own(a *Account, r record.Record, thorough bool) (spent bool, why error) {
	if !k.rotates(r) {
		return false, nil
	}
	owner, freed := k.owners.claim(a, &r, !k.loaded.Load())
	for _, other := range freed {
		k.reconsider(other, true)
	}
	if owner != nil {
		return false, &record.Error{Key: "refresh_token", Rule: "is that of account " + string(owner.id) + oneOwner}
	}
	if thorough {
		why = k.spentElsewhere(a, r)
	}
	return why != nil, why
}

// rotates reports whether a record has a refresh token that its use spends.
func (k *Keeper) rotates(r record.Record) bool {
	d := k.cfg.Redeemers[r.Provider]
	if d == nil || r.RefreshToken.IsZero() || !r.Kind.Refreshes() {
		return false
	}
	policy, _ := d.Replay()
	return policy != ReplayNoRotation
}

// elsewhere says why a refresh token is not the account's own, without a claim to it; nil: it is, or nobody's.
func (k *Keeper) elsewhere(a *Account, r record.Record) error {
	if !k.rotates(r) {
		return nil
	}
	if owner := k.owners.owner(keyOf(r.RefreshToken)); owner != nil && owner != a {
		return &record.Error{Key: "refresh_token", Rule: "is that of account " + string(owner.id) + oneOwner}
	}
	return k.spentElsewhere(a, r)
}

// spentElsewhere says which other account has exchanged a refresh token; nil: none.
func (k *Keeper) spentElsewhere(a *Account, r record.Record) error {
	all := k.All()
	if len(all) > mostSearched {
		return nil
	}
	for _, other := range all {
		if other != a && other.look().memory.isSpent(record.Fingerprint(other.id, r.RefreshToken)) {
			return &record.Error{
				Key:  "refresh_token",
				Rule: "was that of account " + string(other.id) + ", which has exchanged it" + oneOwner,
			}
		}
	}
	return nil
}

// disown forgets the refresh tokens of an account that is gone.
func (k *Keeper) disown(a *Account) {
	_, freed := k.owners.claim(a, nil, false)
	for _, other := range freed {
		k.reconsider(other, true)
	}
}

// reconsider looks whose the account's refresh token is: its record is new, or the token has changed hands.
func (k *Keeper) reconsider(a *Account, thorough bool) {
	l := a.look()
	r, foreign, spent := l.record, l.credential.foreign, l.credential.foreignSpent
	if r.Former == nil {
		r.Former = l.credential.former
	}
	if l.presence != removed && !spent {
		spent, foreign = k.own(a, r, thorough || l.credential.search)
	}
	k.change(a, func(l *lifecycle, _ time.Time) {
		if l.record.RefreshToken.Equal(r.RefreshToken) { // else whoever brought another one looks
			c := &l.credential
			c.unclaimed, c.search, c.foreign, c.foreignSpent = false, false, foreign, spent
		}
	})
}
