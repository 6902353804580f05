package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
)

// openWait is how long Open waits to learn whether Vault can be used.
const openWait = 5 * time.Second

// Backend implements tokenstore.Backend. Safe for concurrent use.
type Backend struct {
	cfg     Config
	dialer  *dialer
	session *session
	log     *zap.Logger
	stop    context.CancelFunc
	stopped chan struct{} // closed when the session's goroutine has ended

	mu      sync.Mutex                     // guards what follows
	listed  map[tokenstore.AccountID]sight // what the latest List saw, where a Watch begins; not changed once set
	ignored map[string]bool                // names that were warned of
}

// Open makes a backend and logs in. It fails at once for what only another configuration can mend: impossible values, bad
// files, and, if Vault answers within 5 s, a mount that is not KV v2 or a namespace on the community edition. While Vault is
// away or refuses the login it returns a backend whose calls fail until that is over; nobody needs to open it again.
func Open(ctx context.Context, cfg Config, log *zap.Logger) (*Backend, error) {
	const tried = "opening the store in Vault"
	cfg, err := cfg.checked()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	d, err := newDialer(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &checker{cfg: cfg, dialer: d}
	b := &Backend{
		cfg: cfg, dialer: d, session: newSession(d, c.check, log), log: log, stop: stop, stopped: make(chan struct{}),
		ignored: map[string]bool{},
	}
	go func() {
		defer close(b.stopped)
		b.session.run(life)
	}()
	wait, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	if _, err = b.session.use(wait); isKind(err, wrong) || err != nil && ctx.Err() != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close ends the session and gives its token back, if it came from a login of ours.
func (b *Backend) Close() error {
	b.stop()
	<-b.stopped
	b.session.held().revoke()
	b.dialer.close()
	return nil
}

// LoginExpires returns when the service's Vault token ends unless it is renewed; zero: never, or not logged in.
func (b *Backend) LoginExpires() time.Time {
	if g := b.session.held(); g != nil {
		return g.until
	}
	return time.Time{}
}

// Load implements tokenstore.Backend. ErrDeleted comes with the version that was deleted.
func (b *Backend) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	if err := id.Validate(); err != nil {
		return tokenstore.Record{}, 0, err
	}
	path := b.dataPath(id)
	var secret struct {
		Data     json.RawMessage `json:"data"`
		Metadata struct {
			Version tokenstore.Version `json:"version"`
			Ends    string             `json:"deletion_time"` // "", or when the version ends: delete_version_after is set
		} `json:"metadata"`
	}
	c := call{"reading account " + string(id) + " from Vault", path, need{"read", path}}
	found, err := b.get(ctx, c, nil, &secret)
	v := secret.Metadata.Version
	switch {
	case err != nil:
		return tokenstore.Record{}, 0, b.blame(ctx, id, err)
	case v == 0 && found:
		return tokenstore.Record{}, 0, c.notVaults()
	case v == 0:
		return tokenstore.Record{}, 0, tokenstore.ErrNotFound
	case len(secret.Data) == 0 || string(secret.Data) == "null" || isTombstone(secret.Data):
		return tokenstore.Record{}, v, tokenstore.ErrDeleted
	}
	r, err := tokenstore.DecodeRecord(secret.Data)
	noteRounded(&r, secret.Data)
	if ends, eerr := time.Parse(time.RFC3339Nano, secret.Metadata.Ends); eerr == nil {
		r.Ends = ends
	}
	return r, v, err
}

// blame returns the error of a failed read, as ErrWithheld when the cause is in that account alone.
func (b *Backend) blame(ctx context.Context, id tokenstore.AccountID, err error) error {
	b.mu.Lock()
	listed := b.listed
	b.mu.Unlock()
	var f *failure
	if !isOwn(err) || !errors.As(err, &f) || !b.vouched(ctx, id, listed) {
		return err
	}
	own := *f
	own.cause = tokenstore.ErrWithheld
	return &own
}

// CompareAndSwap implements tokenstore.Backend. It makes one request, and repeats it only after Vault refused our token.
func (b *Backend) CompareAndSwap(ctx context.Context, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version) (tokenstore.Version, error) {
	if err := id.Validate(); err != nil {
		return 0, err
	}
	data, err := tokenstore.EncodeRecord(r)
	if err != nil {
		return 0, err
	}
	path := b.dataPath(id)
	n := need{"update", path}
	if expect == 0 {
		n.capability = "create"
	}
	return b.put(ctx, call{"writing account " + string(id) + " to Vault", path, n}, data, expect)
}

// tombstone is the version under which a record is deleted.
const tombstone = "tokenward_deleted"

func isTombstone(data json.RawMessage) bool {
	var keys map[string]json.RawMessage
	return json.Unmarshal(data, &keys) == nil && len(keys) == 1 && keys[tombstone] != nil
}

// Delete implements tokenstore.Backend. KV deletes without compare-and-set, so a tombstone is written with it first, which
// every writer with the old version meets as a conflict; then the secret and all its versions are removed. What somebody
// writes on top of the tombstone between the two requests, a millisecond apart, is removed with it.
func (b *Backend) Delete(ctx context.Context, id tokenstore.AccountID, expect tokenstore.Version) error {
	if err := id.Validate(); err != nil {
		return err
	}
	tried := "deleting account " + string(id) + " in Vault"
	path := b.metadataPath(id)
	if m, err := b.see(ctx, id, sight{}); err != nil || m.version != expect || expect == 0 {
		switch {
		case err != nil:
			return err
		case m.version == 0:
			return tokenstore.ErrNotFound
		}
		return tokenstore.ErrConflict
	}
	if err := b.mayDelete(ctx, tried, path); err != nil {
		return err
	}
	data := b.dataPath(id)
	if _, err := b.put(ctx, call{tried, data, need{"update", data}}, json.RawMessage(`{"`+tombstone+`":"true"}`), expect); err != nil {
		return err
	}
	return b.do(ctx, func(g *grant) error {
		if _, err := g.writer.Logical().DeleteWithContext(ctx, path); err != nil {
			return explain(ctx, err, tried, need{"delete", path})
		}
		return nil
	})
}

// mayDelete asks first, so that no tombstone stays behind that our policy does not let us remove.
func (b *Backend) mayDelete(ctx context.Context, tried, path string) error {
	var granted []string
	err := b.do(ctx, func(g *grant) error {
		var err error
		if granted, err = g.reader.Sys().CapabilitiesSelfWithContext(ctx, path); err != nil {
			return explain(ctx, err, tried, need{"update", "sys/capabilities-self"})
		}
		return nil
	})
	if err == nil && !slices.Contains(granted, "delete") && !slices.Contains(granted, "root") {
		err = &failure{
			kind: denied, tried: tried, wrong: fmt.Sprintf("the policy of our token lacks %q on %s", "delete", path),
			remedy: "add it if this is meant to be possible; deploy/vault has the policies",
		}
	}
	return err
}
