package tokenstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// contact is what calls of the backend tell of it. Reads and writes are apart: a Vault may answer the ones and refuse the
// others.
type contact struct {
	mu           sync.Mutex // guards what follows
	readFailed   bool       // the latest one
	writeFailed  bool
	writeFailure time.Time
}

// up reports whether the latest read and the latest write were answered.
func (c *contact) up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.readFailed && !c.writeFailed
}

// note takes in how a call ended. A failed write that nobody made again for so long that no retry of it can be pending says
// nothing of now, if reads are answered.
func (c *contact) note(write, ok bool, longestRetry time.Duration) (lost, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := !c.readFailed && !c.writeFailed
	switch {
	case !write:
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

// answered counts a call of the backend and tells when the store is lost and found.
func (s *Store) answered(op string, started time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return // we stopped asking
	}
	s.metrics.storeOp(op, storeAnswered(err), time.Since(started))
	s.heard(op, err)
}

// looked hears how the backend's looks for changes end.
func (s *Store) looked(err error) {
	if !errors.Is(err, context.Canceled) {
		s.heard("watch", err)
	}
}

func (s *Store) heard(op string, err error) {
	lost, found := s.contact.note(op == "write", storeAnswered(err), s.cfg.Renewal.BackoffMax)
	switch {
	case lost:
		s.log.Warn("store_lost", zap.String("event", "store_lost"), zap.String("op", op), zap.Error(err))
	case found:
		s.log.Warn("store_restored", zap.String("event", "store_restored"))
		s.resume()
		s.found.Store(true)
	}
}
