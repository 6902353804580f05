package vault

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/tokenstore"
)

// parallel is how many metadata reads are under way at most.
const parallel = 16

// tellEvery is between two lines of progress of a long listing.
const tellEvery = 3 * time.Second

// List implements tokenstore.Backend. Listing costs one request, and one more per account. Version 0 has what is there and has
// no version to tell: the latest is deleted or destroyed, or Vault does not let us see it. Loading it says which.
func (b *Backend) List(ctx context.Context) ([]tokenstore.Head, error) {
	ids, err := b.ids(ctx)
	if err != nil {
		return nil, err
	}
	found, withheld, err := b.look(ctx, ids, nil)
	if err != nil {
		return nil, err
	}
	for id := range withheld {
		found[id] = sight{}
	}
	heads := make([]tokenstore.Head, 0, len(found))
	for id, s := range found {
		if _, there := withheld[id]; s.version == 0 && !there {
			delete(found, id) // removed since, or metadata without a version
			continue
		}
		h := tokenstore.Head{ID: id, Version: s.version}
		if s.gone {
			h.Version = 0
		}
		heads = append(heads, h)
	}
	b.mu.Lock()
	b.listed = found
	b.mu.Unlock()
	return heads, nil
}

// look sees what the accounts are now, compared with what was seen before. withheld are those that could not be seen for a
// reason of their own; an error means that none of the result is to be used.
func (b *Backend) look(ctx context.Context, ids []tokenstore.AccountID, before map[tokenstore.AccountID]sight) (found map[tokenstore.AccountID]sight, withheld map[tokenstore.AccountID]error, err error) {
	found, withheld = make(map[tokenstore.AccountID]sight, len(ids)), map[tokenstore.AccountID]error{}
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
	for range min(parallel, len(ids)) {
		g.Go(func() error {
			for id, ok := take(); ok; id, ok = take() {
				s, err := b.see(going, id, before[id])
				mu.Lock()
				switch {
				case err == nil:
					found[id] = s
				case isOwn(err):
					withheld[id] = err
				}
				mu.Unlock()
				if err != nil && !isOwn(err) {
					return err
				}
			}
			return nil
		})
	}
	if err = g.Wait(); err != nil || len(withheld) == 0 {
		return found, withheld, err
	}
	for id, err := range withheld {
		if !b.vouched(ctx, id, found, before) {
			return nil, nil, err
		}
		break
	}
	return found, withheld, nil
}

// isOwn reports whether a failed read may be that account's own trouble, if others can be read: the policy denies its path, or
// its entry is broken, which Vault answers with status 500.
func isOwn(err error) bool {
	var f *failure
	return errors.As(err, &f) && (f.kind == denied || f.kind == other || f.status == http.StatusInternalServerError)
}

// vouched reports whether a neighbour of id can be read now, so that Vault works and our policy grants something.
func (b *Backend) vouched(ctx context.Context, id tokenstore.AccountID, known ...map[tokenstore.AccountID]sight) bool {
	for _, m := range known {
		for neighbour, s := range m {
			if neighbour != id && s.version != 0 {
				_, err := b.see(ctx, neighbour, sight{})
				return err == nil
			}
		}
	}
	return false
}

// ids lists the names under the prefix that are account ids.
func (b *Backend) ids(ctx context.Context) ([]tokenstore.AccountID, error) {
	path := b.cfg.Mount + "/metadata/" + b.cfg.Prefix
	var folder struct {
		Keys []string `json:"keys"`
	}
	c := call{"listing the accounts in Vault", path, need{"list", path}}
	found, err := b.get(ctx, c, map[string][]string{"list": {"true"}}, &folder)
	if err != nil {
		return nil, err
	}
	if found && folder.Keys == nil { // read as none, it would end every account
		return nil, &failure{kind: away, tried: c.tried, wrong: "the answer has no list"}
	}
	ids := make([]tokenstore.AccountID, 0, len(folder.Keys))
	var ignored []string
	for _, name := range folder.Keys {
		if id := tokenstore.AccountID(name); id.Validate() == nil { // a sub-folder ends with a slash
			ids = append(ids, id)
			continue
		}
		ignored = append(ignored, name)
	}
	b.warnOfIgnored(ignored)
	return ids, nil
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
		b.log.Warn("these names under store.vault.prefix are ignored: account ids are 1 to 128 of a-z A-Z 0-9 . _ -, without folders",
			zap.Int("count", len(names)), zap.Strings("names", names[:min(len(names), 10)]))
	}
}
