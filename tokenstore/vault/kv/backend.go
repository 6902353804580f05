package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
)

// Config says how a Backend uses its engine.
type Config struct {
	Poll     time.Duration  // how often changes by others are looked for, ±20 %; positive
	Parallel int            // metadata reads that are under way at most; positive
	Rand     func() float64 // from 0 to below 1, safe for concurrent use; nil: math/rand/v2's
	Log      *zap.Logger    // nil: none
}

// Backend implements tokenstore.Backend but for Close. Safe for concurrent use.
type Backend struct {
	carrier Carrier
	cfg     Config
	log     *zap.Logger

	mu      sync.Mutex      // guards what follows
	listed  sights          // what the latest List saw, where a Watch begins; not changed once set
	ignored map[string]bool // names that were warned of
}

// New returns a backend whose requests c carries.
func New(c Carrier, cfg Config) *Backend {
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Backend{carrier: c, cfg: cfg, log: cfg.Log, ignored: map[string]bool{}}
}

// Load implements tokenstore.Backend. ErrDeleted comes with the version that was deleted.
func (b *Backend) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	if err := id.Validate(); err != nil {
		return tokenstore.Record{}, 0, err
	}
	secret, err := b.carrier.Read(ctx, id)
	v := secret.Version
	switch {
	case err != nil:
		return tokenstore.Record{}, 0, b.blame(ctx, id, err)
	case v == 0:
		return tokenstore.Record{}, 0, tokenstore.ErrNotFound
	case len(secret.Data) == 0 || string(secret.Data) == "null" || isTombstone(secret.Data):
		return tokenstore.Record{}, v, tokenstore.ErrDeleted
	}
	r, err := tokenstore.DecodeRecord(secret.Data)
	noteRounded(&r, secret.Data)
	r.Ends = secret.Ends
	return r, v, err
}

// blame returns the error of a failed read, as ErrWithheld when the cause is in that account alone.
func (b *Backend) blame(ctx context.Context, id tokenstore.AccountID, err error) error {
	b.mu.Lock()
	listed := b.listed
	b.mu.Unlock()
	if !Own(err) || !b.vouched(ctx, id, listed) {
		return err
	}
	return withheld{err}
}

// CompareAndSwap implements tokenstore.Backend. It makes one request, and looks if the policy refuses it: one that does
// not grant creation refuses a write where there is nothing any more, whatever version it names.
func (b *Backend) CompareAndSwap(
	ctx context.Context, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version,
) (tokenstore.Version, error) {
	if err := id.Validate(); err != nil {
		return 0, err
	}
	data, err := tokenstore.EncodeRecord(r)
	if err != nil {
		return 0, err
	}
	v, err := b.carrier.Write(ctx, "writing account "+string(id)+" to Vault", id, data, expect)
	if expect != 0 && Own(err) && !errors.Is(err, tokenstore.ErrConflict) {
		if s, lookErr := b.carrier.Look(ctx, id, Sight{}); lookErr == nil && s.Version == 0 {
			return 0, fmt.Errorf("writing account %s to Vault: it is not there any more: %w", id, tokenstore.ErrConflict)
		}
	}
	return v, err
}

// tombstone is the version under which a record is deleted.
const tombstone = "tokenward_deleted"

func isTombstone(data json.RawMessage) bool {
	var keys map[string]json.RawMessage
	return json.Unmarshal(data, &keys) == nil && len(keys) == 1 && keys[tombstone] != nil
}

// Delete implements tokenstore.Backend. KV deletes without compare-and-set, so a tombstone is written with it first,
// which every writer with the old version meets as a conflict; then the secret and all its versions are removed. What
// somebody writes on top of the tombstone between the two requests, a millisecond apart, is removed with it.
func (b *Backend) Delete(ctx context.Context, id tokenstore.AccountID, expect tokenstore.Version) error {
	if err := id.Validate(); err != nil {
		return err
	}
	tried := "deleting account " + string(id) + " in Vault"
	if s, err := b.carrier.Look(ctx, id, Sight{}); err != nil || s.Version != expect || expect == 0 {
		switch {
		case err != nil:
			return err
		case s.Version == 0:
			return tokenstore.ErrNotFound
		}
		return tokenstore.ErrConflict
	}
	if err := b.carrier.MayRemove(ctx, tried, id); err != nil { // no tombstone stays behind that we may not remove
		return err
	}
	if _, err := b.carrier.Write(ctx, tried, id, json.RawMessage(`{"`+tombstone+`":"true"}`), expect); err != nil {
		return err
	}
	return b.carrier.Remove(ctx, tried, id)
}
