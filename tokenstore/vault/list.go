package vault

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/tokenstore"
)

// parallel is how many metadata reads one listing has under way.
const parallel = 16

// mark is what tells two states of a secret apart without reading it. The creation time shows a secret that was removed and
// created anew up to the same number.
type mark struct {
	version tokenstore.Version // 0: there is none
	created string
	gone    bool // deleted or destroyed
}

// List implements tokenstore.Backend. A record whose latest version is deleted or destroyed is listed with version 0: it is
// there, and loading it says ErrDeleted. Listing costs one request, and one more per account.
func (b *Backend) List(ctx context.Context) ([]tokenstore.Head, error) {
	marks, err := b.marks(ctx)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.listed = maps.Clone(marks)
	b.mu.Unlock()
	heads := make([]tokenstore.Head, 0, len(marks))
	for id, m := range marks {
		h := tokenstore.Head{ID: id, Version: m.version}
		if m.gone {
			h.Version = 0
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// marks reads the mark of every account.
func (b *Backend) marks(ctx context.Context) (map[tokenstore.AccountID]mark, error) {
	ids, err := b.ids(ctx)
	if err != nil {
		return nil, err
	}
	marks := make(map[tokenstore.AccountID]mark, len(ids))
	var mu sync.Mutex // guards marks
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, id := range ids {
		g.Go(func() error {
			m, err := b.mark(ctx, id)
			if err != nil || m.version == 0 { // removed since, or metadata without a version
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			marks[id] = m
			return nil
		})
	}
	return marks, g.Wait()
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

// mark reads the metadata of one account; the zero mark if there is none.
func (b *Backend) mark(ctx context.Context, id tokenstore.AccountID) (mark, error) {
	path := b.metadataPath(id)
	var metadata struct {
		Current  tokenstore.Version `json:"current_version"`
		Versions map[tokenstore.Version]struct {
			Created   string `json:"created_time"`
			Deleted   string `json:"deletion_time"` // "", or when the version ends or ended
			Destroyed bool   `json:"destroyed"`
		} `json:"versions"`
	}
	if _, err := b.get(ctx, call{"looking at account " + string(id) + " in Vault", path, need{"read", path}}, nil, &metadata); err != nil {
		return mark{}, err
	}
	v := metadata.Versions[metadata.Current]
	end, err := time.Parse(time.RFC3339Nano, v.Deleted)
	return mark{metadata.Current, v.Created, v.Destroyed || err == nil && !end.After(time.Now())}, nil
}
