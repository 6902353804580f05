package kv

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/tokenstore"
)

// tellEvery is between two lines of progress of a long listing.
const tellEvery = 3 * time.Second

// List implements tokenstore.Backend. Listing costs one request, and one more per account. Version 0 has what is there
// and has no version to tell: the latest is deleted or destroyed, or Vault does not let us see it. Loading it says
// which.
func (b *Backend) List(ctx context.Context) ([]tokenstore.Head, error) {
	ids, err := b.ids(ctx)
	if err != nil {
		return nil, err
	}
	found, withheld, err := b.look(ctx, ids, nil)
	if err != nil {
		return nil, err
	}
	heads := make([]tokenstore.Head, 0, len(ids))
	for _, id := range ids {
		s := found[id]
		switch _, hidden := withheld[id]; {
		case hidden:
			found[id] = s // without a version: Watch knows that it is there
		case s.Version == 0: // removed since, or metadata without a version
			delete(found, id)
			continue
		}
		h := tokenstore.Head{ID: id, Version: s.Version}
		if s.Gone {
			h.Version = 0
		}
		heads = append(heads, h)
	}
	b.mu.Lock()
	b.listed = found
	b.mu.Unlock()
	return heads, nil
}

// sights are what was seen of several accounts.
type sights map[tokenstore.AccountID]Sight

// look sees what the accounts are now, compared with what was seen before. withheld are those that could not be seen
// for a reason of their own; an error means that none of the result is to be used.
func (b *Backend) look(
	ctx context.Context, ids []tokenstore.AccountID, before sights,
) (found sights, withheld map[tokenstore.AccountID]error, err error) {
	found, withheld = make(sights, len(ids)), map[tokenstore.AccountID]error{}
	var mu sync.Mutex // guards both
	next, told := 0, time.Now()
	take := func() (id tokenstore.AccountID, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(ids) {
			return "", false
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			b.log.Info("looking at the accounts in Vault", zap.Int("seen", next), zap.Int("of", len(ids)))
		}
		next++
		return ids[next-1], true
	}
	g, going := errgroup.WithContext(ctx)
	for range min(b.cfg.Parallel, len(ids)) {
		g.Go(func() error {
			for id, ok := take(); ok; id, ok = take() {
				s, err := b.carrier.Look(going, id, before[id])
				mu.Lock()
				switch {
				case err == nil:
					found[id] = s
				case Own(err):
					withheld[id] = err
				}
				mu.Unlock()
				if err != nil && !Own(err) {
					return err
				}
			}
			return nil
		})
	}
	if err = g.Wait(); err != nil || len(withheld) == 0 {
		return found, withheld, err
	}
	if id := slices.Min(slices.Collect(maps.Keys(withheld))); !b.vouched(ctx, id, found, before) {
		return nil, nil, withheld[id]
	}
	return found, withheld, nil
}

// neighbours is how many of them are asked at most, as long as each is in trouble of its own.
const neighbours = 4

// vouched reports whether a neighbour of id can be read now, so that the engine works and our policy grants something.
// Who is asked is drawn each time: those that are in trouble themselves do not decide for good.
func (b *Backend) vouched(ctx context.Context, id tokenstore.AccountID, known ...sights) bool {
	draw := math.Float64bits(b.cfg.Rand())
	asked := []tokenstore.AccountID{id}
	for _, m := range known {
		for len(asked) <= neighbours {
			next := drawn(m, asked, draw)
			if next == "" {
				break
			}
			asked = append(asked, next)
			if _, err := b.carrier.Look(ctx, next, Sight{}); err == nil || !Own(err) {
				return err == nil
			}
		}
	}
	return false
}

// drawn is one of those that have a version, save some; "" if there is none.
func drawn(m sights, save []tokenstore.AccountID, draw uint64) (chosen tokenstore.AccountID) {
	least := uint64(math.MaxUint64)
	for id, s := range m {
		if s.Version == 0 || slices.Contains(save, id) {
			continue
		}
		if n := mix(draw, id); chosen == "" || n < least {
			chosen, least = id, n
		}
	}
	return chosen
}

// mix is FNV-1a of an id with a number drawn: a number per id that another draw changes.
func mix(draw uint64, id tokenstore.AccountID) uint64 {
	n := uint64(14695981039346656037) ^ draw
	for i := range len(id) {
		n = (n ^ uint64(id[i])) * 1099511628211
	}
	return n
}

// ids lists the names under the prefix that are account ids, sorted.
func (b *Backend) ids(ctx context.Context) ([]tokenstore.AccountID, error) {
	names, err := b.carrier.Names(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]tokenstore.AccountID, 0, len(names))
	var ignored []string
	for _, name := range names {
		if id := tokenstore.AccountID(name); id.Validate() == nil { // a sub-folder ends with a slash
			ids = append(ids, id)
			continue
		}
		ignored = append(ignored, name)
	}
	b.warnOfIgnored(ignored)
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// warnOfIgnored logs names that are no account ids, once each.
func (b *Backend) warnOfIgnored(names []string) {
	b.mu.Lock()
	names = slices.DeleteFunc(names, func(name string) bool { return b.ignored[name] })
	for _, name := range names {
		b.ignored[name] = true
	}
	b.mu.Unlock()
	if len(names) > 0 {
		b.log.Warn("these names under store.vault.prefix are ignored: "+
			"account ids are 1 to 128 of a-z A-Z 0-9 . _ -, without folders",
			zap.Int("count", len(names)), zap.Strings("names", names[:min(len(names), 10)]))
	}
}
