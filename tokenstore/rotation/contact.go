package rotation

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// contact is what calls of the backend tell of it. Reads and writes are apart: a Vault may answer the ones and refuse
// the others.
type contact struct {
	mu           sync.Mutex // guards what follows
	readFailed   bool       // the latest one
	writeFailed  bool
	writeFailure time.Time
	back         chan struct{} // closed when reads are answered again; nil: nobody waits
}

// up reports whether the latest read and the latest write were answered.
func (c *contact) up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.readFailed && !c.writeFailed
}

// trouble is what is wrong with the backend, for people; "": nothing.
func (c *contact) trouble() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.readFailed:
		return "the store does not answer: tokens are served from memory until they expire"
	case c.writeFailed:
		return "the store answers but did not take the latest write: tokens are served, and cannot be refreshed until " +
			"it does; store_lost in the log has the reason"
	}
	return ""
}

// note takes in how a call ended. A failed write that nobody made again for so long that no retry of it can be pending
// says nothing of now, if reads are answered.
func (c *contact) note(write, ok bool, longestRetry time.Duration) (lost, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := !c.readFailed && !c.writeFailed
	switch {
	case !write:
		if c.readFailed && ok && c.back != nil {
			close(c.back)
			c.back = nil
		}
		c.readFailed = !ok
		c.writeFailed = c.writeFailed && (!ok || time.Since(c.writeFailure) <= longestRetry)
	case ok:
		c.writeFailed = false
	default:
		c.writeFailed, c.writeFailure = true, time.Now()
	}
	is := !c.readFailed && !c.writeFailed
	return was && !is, !was && is
}

// returns is closed when reads are answered again after a failure.
func (c *contact) returns() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil {
		c.back = make(chan struct{})
	}
	return c.back
}

// answered counts a call of the backend and tells when the store is lost and found.
func (k *Keeper) answered(op string, started time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return // we stopped asking
	}
	k.count.StoreOp(op, storeAnswered(err), time.Since(started))
	k.heard(op, err)
}

// looked hears how the backend's looks for changes end.
func (k *Keeper) looked(err error) {
	if !errors.Is(err, context.Canceled) {
		k.heard("watch", err)
	}
}

func (k *Keeper) heard(op string, err error) {
	lost, found := k.contact.note(op == "write", storeAnswered(err), k.cfg.Renewal.BackoffMax)
	switch {
	case lost:
		k.host.Event("store_lost", nil, zap.String("op", op), zap.Error(err))
	case found:
		k.host.Event("store_restored", nil)
		k.resume()
		k.found.Store(true)
	}
}

// storeAnswered reports whether the backend did its work: a conflict or a missing record is an answer.
func storeAnswered(err error) bool {
	return err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrDeleted) || errors.Is(err, ErrConflict) ||
		errors.Is(err, record.ErrUnreadable) ||
		errors.Is(err, ErrWithheld)
}
