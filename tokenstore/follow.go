package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/tokenstore/record"
)

var errNotLoaded = errors.New("accounts are not loaded yet")

// rereadPause is how long a record that could not be read is left alone.
const rereadPause = 10 * time.Second

// sync compares the backend's list with memory and loads what is new or changed. It fails if the backend does: then what it
// did not come to is as it was.
func (s *Store) sync(ctx context.Context) error {
	started := time.Now()
	heads, err := s.backend.List(ctx)
	s.answered("list", started, err)
	if err != nil {
		return err
	}
	listed := make(map[record.ID]bool, len(heads))
	told := time.Now()
	g, going := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, h := range heads {
		if going.Err() != nil {
			break
		}
		if time.Since(told) > 3*time.Second {
			told = time.Now()
			s.tellLoading(i, len(heads))
		}
		listed[h.ID] = true
		if a := s.account(h.ID); a != nil && a.look().version == h.Version {
			continue
		}
		g.Go(func() error { return s.reload(h.ID) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, a := range s.all() {
		if !listed[a.id] {
			_ = s.reload(a.id) // deleted, or created after the listing
		}
	}
	return ctx.Err()
}

func (s *Store) tellLoading(done, of int) {
	words := fmt.Sprintf("%d of %d", done, of)
	s.loading.Store(&words)
	s.log.Info("loading accounts", zap.Int("loaded", done), zap.Int("of", of))
}

// reload reads one record again and adopts what it says. It fails if the backend does; then, and while the record is withheld,
// it is tried again later. An account that memory knows goes on meanwhile with what memory has.
func (s *Store) reload(id record.ID) error {
	cur, err := s.load(id)
	withheld := errors.Is(err, ErrWithheld)
	again := s.mark(id, withheld || !storeAnswered(err))
	switch {
	case errors.Is(err, ErrNotFound):
		s.remove(id)
	case errors.Is(err, ErrDeleted):
		s.unusable(s.ensure(id), err, cur)
	case errors.Is(err, record.ErrUnreadable):
		s.unusable(s.ensure(id), err, cur)
		s.log.Warn("account cannot be used", zap.String("account", string(id)), zap.Error(err))
	case withheld:
		if a := s.ensure(id); a.look().version == 0 {
			s.unusable(a, err, cur)
		}
		if !again {
			s.log.Warn("account cannot be read; what is known of it is kept", zap.String("account", string(id)), zap.Error(err))
		}
	case err != nil:
		return err
	default:
		s.take(s.ensure(id), cur)
	}
	return nil
}

// mark notes whether an account is to be read again, and returns what was noted before.
func (s *Store) mark(id record.ID, unread bool) (was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.unread[id]
	delete(s.unread, id)
	if unread {
		s.unread[id] = true
	}
	return was
}

// rereadLoop reads again what could not be read, until the backend fails once more. A backend that was away may come back with
// other contents than it went with: then all is compared.
func (s *Store) rereadLoop() {
	tick := time.NewTicker(rereadPause)
	defer tick.Stop()
	for {
		select {
		case <-s.stopping.Done():
			return
		case <-tick.C:
		}
		if s.found.Swap(false) {
			_ = s.sync(s.stopping) // a store that is lost again is found again
			continue
		}
		s.mu.Lock()
		ids := slices.Sorted(maps.Keys(s.unread))
		s.mu.Unlock()
		for _, id := range ids {
			if s.stopping.Err() != nil || s.reload(id) != nil {
				break
			}
		}
	}
}

// follow adopts changes by others for as long as the store lives.
func (s *Store) follow() {
	for try := 1; s.stopping.Err() == nil; try++ {
		err := errNotLoaded
		if s.loaded.Load() {
			err = s.backend.Watch(s.stopping, func(id record.ID) { _ = s.reload(id) }, s.looked) // one that fails is read again
		}
		if s.stopping.Err() != nil {
			return
		}
		if s.contact.up() {
			s.log.Warn("following the store was interrupted; trying again", zap.Error(err))
		}
		pause(s.stopping, backoff(try, time.Second, 30*time.Second, 0, 0.5))
		if s.sync(s.stopping) == nil {
			try = 0
			s.loaded.Store(true)
			s.rebuildSoon()
		}
	}
}

// unusable notes that the record is there but cannot be used, so that nobody knows whom it may serve.
func (s *Store) unusable(a *account, err error, r stored) {
	var news bool
	s.change(a, func(l *lifecycle, _ time.Time) { news = l.unreadable(err, errors.Is(err, ErrDeleted), r) })
	if news {
		s.event("account_paused", a, zapString("reason", WhyDeleted))
	}
}
