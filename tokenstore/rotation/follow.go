package rotation

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

// ErrNotLoaded is why there are no accounts yet.
var ErrNotLoaded = errors.New("accounts are not loaded yet")

// rereadPause is how long a record that could not be read is left alone.
const rereadPause = 10 * time.Second

// sync compares the backend's list with memory and loads what is new or changed. It fails if the backend does: then
// what it did not come to is as it was.
func (k *Keeper) sync(ctx context.Context) error {
	started := time.Now()
	heads, err := k.backend.List(ctx)
	k.answered("list", started, err)
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
			k.tellLoading(i, len(heads))
		}
		listed[h.ID] = true
		if a := k.Account(h.ID); a != nil && a.look().version == h.Version {
			continue
		}
		g.Go(func() error { return k.Reload(h.ID) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, a := range k.All() {
		if !listed[a.id] {
			_ = k.Reload(a.id) // deleted, or created after the listing
		}
	}
	return ctx.Err()
}

func (k *Keeper) tellLoading(done, of int) {
	words := fmt.Sprintf("%d of %d", done, of)
	k.loading.Store(&words)
	k.log.Info("loading accounts", zap.Int("loaded", done), zap.Int("of", of))
}

// Reload reads one record again and adopts what it says. It fails if the backend does; then, and while the record is
// withheld, it is tried again later. An account that memory knows goes on meanwhile with what memory has.
func (k *Keeper) Reload(id record.ID) error {
	cur, err := k.read(id)
	withheld := errors.Is(err, ErrWithheld)
	again := k.mark(id, withheld || !storeAnswered(err))
	switch {
	case errors.Is(err, ErrNotFound):
		k.remove(id)
	case errors.Is(err, ErrDeleted):
		k.unusable(k.ensure(id), err, cur)
	case errors.Is(err, record.ErrUnreadable):
		k.unusable(k.ensure(id), err, cur)
		k.log.Warn("account cannot be used", zap.String("account", string(id)), zap.Error(err))
	case withheld:
		if a := k.ensure(id); a.look().version == 0 {
			k.unusable(a, err, cur)
		}
		if !again {
			k.log.Warn("account cannot be read; what is known of it is kept", zap.String("account", string(id)), zap.Error(err))
		}
	case err != nil:
		return err
	default:
		k.take(k.ensure(id), cur)
	}
	return nil
}

// mark notes whether an account is to be read again, and returns what was noted before.
func (k *Keeper) mark(id record.ID, unread bool) (was bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was = k.unread[id]
	delete(k.unread, id)
	if unread {
		k.unread[id] = true
	}
	return was
}

// rereadLoop reads again what could not be read, until the backend fails once more. A backend that was away may come
// back with other contents than it went with: then all is compared.
func (k *Keeper) rereadLoop() {
	tick := time.NewTicker(rereadPause)
	defer tick.Stop()
	for {
		select {
		case <-k.stopping.Done():
			return
		case <-tick.C:
		}
		if k.found.Swap(false) {
			_ = k.sync(k.stopping) // a store that is lost again is found again
			continue
		}
		k.mu.Lock()
		ids := slices.Sorted(maps.Keys(k.unread))
		k.mu.Unlock()
		for _, id := range ids {
			if k.stopping.Err() != nil || k.Reload(id) != nil {
				break
			}
		}
	}
}

// follow adopts changes by others for as long as the store lives.
func (k *Keeper) follow() {
	for try := 1; k.stopping.Err() == nil; try++ {
		err := ErrNotLoaded
		if k.loaded.Load() {
			err = k.backend.Watch(k.stopping, func(id record.ID) { _ = k.Reload(id) }, k.looked) // one that fails is read again
		}
		if k.stopping.Err() != nil {
			return
		}
		if k.contact.up() {
			k.log.Warn("following the store was interrupted; trying again", zap.Error(err))
		}
		pause(k.stopping, backoff(try, time.Second, 30*time.Second, 0, 0.5))
		if k.sync(k.stopping) == nil {
			try = 0
			k.loaded.Store(true)
			k.host.Moved()
		}
	}
}

// unusable notes that the record is there but cannot be used, so that nobody knows whom it may serve.
func (k *Keeper) unusable(a *Account, err error, r stored) {
	var news bool
	k.change(a, func(l *lifecycle, _ time.Time) { news = l.unreadable(err, errors.Is(err, ErrDeleted), r) })
	if news {
		k.host.Event("account_paused", a, zap.String("reason", record.WhyDeleted))
	}
}
