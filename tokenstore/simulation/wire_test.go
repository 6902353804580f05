package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// wire is a service's way to the store: every call is an operation that a fault may meet, and every instant in a record
// is shifted by the service's wall clock, which the process itself cannot see.
type wire struct {
	*life
	looks tokenstore.Backend
}

func indexOf(id tokenstore.AccountID) int { return int(id[0] - 'a') }

// List implements tokenstore.Backend.
func (x *wire) List(ctx context.Context) (heads []tokenstore.Head, err error) {
	err = x.do(ctx, opList, -1, func() (err error) {
		heads, err = x.w.shelf.direct.List(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return heads, nil
}

// Load implements tokenstore.Backend.
func (x *wire) Load(ctx context.Context, id tokenstore.AccountID) (r tokenstore.Record, v tokenstore.Version,
	err error,
) {
	fault := x.do(ctx, opLoad, indexOf(id), func() error {
		r, v, err = x.w.shelf.Load(ctx, id)
		return nil
	})
	if fault != nil {
		return tokenstore.Record{}, 0, fault
	}
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.dead {
		return tokenstore.Record{}, 0, errDead
	}
	if err == nil { // of a record that nobody can use the service takes nothing
		x.meet(r.RefreshToken.Reveal())
	}
	return shifted(r, -x.shift), v, err
}

// meet notes that a life has had a refresh token in its hands.
func (l *life) meet(value string) {
	if _, has := l.has[value]; !has {
		l.has[value] = l.w.now()
	}
}

// CompareAndSwap implements tokenstore.Backend.
func (x *wire) CompareAndSwap(ctx context.Context, id tokenstore.AccountID, r tokenstore.Record,
	expect tokenstore.Version,
) (v tokenstore.Version, err error) {
	account, w := indexOf(id), x.w
	r = shifted(r.Clone(), x.shift)
	k := opWrite
	w.mu.Lock()
	switch claim := r.Rotation.Claim; {
	case claim != nil && claim.Holder == x.name && !claim.Ambiguous:
		k = opClaim
	case w.as.unsaved(r):
		k = opSave
	}
	if !x.dead {
		w.as.sending(r)
	}
	w.mu.Unlock()
	err = x.do(ctx, k, account, func() error {
		was := w.as.refresh[w.shelf.shown(id)]
		v, err := x.w.shelf.direct.CompareAndSwap(ctx, id, r, expect)
		if err == nil {
			w.ledger.replaced(x.life, was, r)
			w.as.stored(x.life, account, r)
			w.ledger.wrote(x.life, account, was, r)
		}
		if w.loud {
			w.say("%s: %s of %s on version %d: %s", x.name, k, id, expect, outcome(err, w.as.describe(r)))
		}
		if err != nil {
			w.note(x.number, account, 0xc0)
		}
		x.version = v
		return err
	})
	if err == nil {
		w.mu.Lock()
		v = x.version
		w.mu.Unlock()
	}
	return v, err
}

func outcome(err error, otherwise string) string {
	switch {
	case errors.Is(err, tokenstore.ErrConflict):
		return "conflict"
	case err != nil:
		return err.Error()
	}
	return otherwise
}

// Delete implements tokenstore.Backend. The service never deletes.
func (x *wire) Delete(context.Context, tokenstore.AccountID, tokenstore.Version) error {
	return errors.New("simulated: the service deletes nothing")
}

// Close implements tokenstore.Backend.
func (x *wire) Close() error { return nil }

// Watch implements tokenstore.Backend: the Vault backend's own looks for changes.
func (x *wire) Watch(ctx context.Context, changed func(tokenstore.AccountID), looked func(error)) error {
	return x.looks.Watch(ctx, changed, looked)
}

// look is what befalls one request of a look for changes.
func (l *life) look(op tokenstoretest.Op) tokenstoretest.Fault {
	k, account := opList, -1
	if op.ID != "" {
		k, account = opLook, indexOf(op.ID)
	}
	time.Sleep(l.latency(k, account, 0))
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.dead || w.away(l) {
		return tokenstoretest.Fault{Kind: tokenstoretest.RequestLost}
	}
	f, n := w.next(l.number, account, k)
	w.note(l.number, account, uint64(k)<<32|uint64(n))
	if f == nil {
		return tokenstoretest.Fault{}
	}
	w.say("%s: %s (operation %d)", l.name, *f, n)
	switch f.act {
	case fail:
		return tokenstoretest.Fault{Kind: tokenstoretest.RequestLost}
	case deny:
		return tokenstoretest.Fault{Kind: tokenstoretest.Denied}
	case slowAfter:
		return tokenstoretest.Fault{After: f.length}
	default:
		w.edit(f, account)
	}
	return tokenstoretest.Fault{}
}

// shifted moves every instant of a record, which is the caller's own.
func shifted(r tokenstore.Record, by time.Duration) tokenstore.Record {
	if by == 0 {
		return r
	}
	move := func(ts ...*time.Time) {
		for _, t := range ts {
			if !t.IsZero() {
				*t = t.Add(by)
			}
		}
	}
	move(&r.ExpiresAt, &r.ObtainedAt)
	if c := r.Rotation.Claim; c != nil {
		move(&c.StartedAt)
	}
	if o := r.Rotation.Last; o != nil {
		move(&o.At, &o.FailingSince, &o.RefusedSince)
	}
	if d := r.Rotation.Dead; d != nil {
		move(&d.At)
	}
	if no := r.Rotation.Rejected; no != nil {
		move(&no.At)
	}
	if f := r.Former; f != nil {
		move(&f.Since)
		if f.Claim != nil {
			move(&f.Claim.StartedAt)
		}
	}
	return r
}

// disk is what a service has besides its memory. What is on it was fsynced.
type disk struct {
	entries []tokenstore.JournalEntry
	lost    []time.Duration
}

// lose takes the disk away: the next life finds an empty one.
func (d *disk) lose(w *world) {
	for _, e := range d.entries {
		w.as.diskLost(e.Record)
	}
	d.entries, d.lost = nil, append(d.lost, w.now())
	w.say("its journal is lost")
}

func (d *disk) without(attempt string) []tokenstore.JournalEntry {
	var left []tokenstore.JournalEntry
	for _, e := range d.entries {
		if e.Attempt != attempt {
			left = append(left, e)
		}
	}
	return left
}

// journal is a life's way to the disk.
type journal struct{ *life }

// Append implements tokenstore.Journal.
func (j *journal) Append(e tokenstore.JournalEntry) error {
	e.Record = e.Record.Clone()
	j.w.mu.Lock()
	if !j.dead {
		j.w.as.journalling(e.Record)
	}
	j.w.mu.Unlock()
	return j.do(context.Background(), opAppend, indexOf(e.Account), func() error {
		j.disk.entries = append(j.disk.without(e.Attempt), e)
		j.w.as.kept(j.life, e.Record)
		j.w.say("%s: journal has %s", j.name, j.w.as.describe(e.Record))
		return nil
	})
}

// Remove implements tokenstore.Journal.
func (j *journal) Remove(attempt string) error {
	account := -1
	j.w.mu.Lock()
	for _, e := range j.disk.entries {
		if e.Attempt == attempt {
			account = indexOf(e.Account)
		}
	}
	j.w.mu.Unlock()
	return j.do(context.Background(), opRemove, account, func() error {
		j.disk.entries = j.disk.without(attempt)
		return nil
	})
}

// Entries implements tokenstore.Journal.
func (j *journal) Entries() ([]tokenstore.JournalEntry, error) {
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	var all []tokenstore.JournalEntry
	for _, e := range j.disk.entries {
		e.Record = e.Record.Clone()
		all = append(all, e)
		j.meet(e.Record.RefreshToken.Reveal())
	}
	return all, nil
}
