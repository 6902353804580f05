// Package tokenstoretest ships what tests of the domain and of backends need: a plain backend in memory, a model of
// Vault's KV v2 with its faults and its operators, a scripted driver, and the conformance suite that every backend
// passes.
package tokenstoretest

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/tokenward/tokenward/tokenstore"
)

// Memory is a Backend in memory. Records pass through the codec, as in every real backend.
type Memory struct {
	// Before, when set, is called before each operation (list, load, swap, delete); its error is the operation's.
	Before func(op string, id tokenstore.AccountID) error
	// After, when set, is called after each successful swap; its error replaces the answer, as when the answer is lost.
	After func(id tokenstore.AccountID) error

	// Restarting makes versions count per record and begin anew when one is deleted and made again, as Vault's do.
	Restarting bool

	mu       sync.Mutex // guards what follows
	rows     map[tokenstore.AccountID]row
	last     tokenstore.Version
	watchers map[chan tokenstore.AccountID]bool
}

type row struct {
	data    []byte
	version tokenstore.Version
}

// NewMemory returns an empty backend.
func NewMemory() *Memory {
	return &Memory{rows: map[tokenstore.AccountID]row{}, watchers: map[chan tokenstore.AccountID]bool{}}
}

func (m *Memory) before(ctx context.Context, op string, id tokenstore.AccountID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.Before != nil {
		return m.Before(op, id)
	}
	return nil
}

// List implements tokenstore.Backend.
func (m *Memory) List(ctx context.Context) ([]tokenstore.Head, error) {
	if err := m.before(ctx, "list", ""); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var heads []tokenstore.Head
	for id, r := range m.rows {
		heads = append(heads, tokenstore.Head{ID: id, Version: r.version})
	}
	return heads, nil
}

// Load implements tokenstore.Backend.
func (m *Memory) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	if err := m.before(ctx, "load", id); err != nil {
		return tokenstore.Record{}, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[id]
	if !ok {
		return tokenstore.Record{}, 0, tokenstore.ErrNotFound
	}
	rec, err := tokenstore.DecodeRecord(r.data)
	return rec, r.version, err
}

// CompareAndSwap implements tokenstore.Backend.
func (m *Memory) CompareAndSwap(
	ctx context.Context, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version,
) (tokenstore.Version, error) {
	if err := m.before(ctx, "swap", id); err != nil {
		return 0, err
	}
	data, err := tokenstore.EncodeRecord(r)
	if err != nil {
		return 0, err
	}
	v, err := m.put(id, data, &expect)
	if err == nil && m.After != nil {
		err = m.After(id)
	}
	return v, err
}

func (m *Memory) put(id tokenstore.AccountID, data []byte, expect *tokenstore.Version) (tokenstore.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if expect != nil && m.rows[id].version != *expect {
		return 0, tokenstore.ErrConflict
	}
	m.last++
	v := m.last
	if m.Restarting {
		v = m.rows[id].version + 1
	}
	m.rows[id] = row{data, v}
	m.tell(id)
	return v, nil
}

// Patch puts keys into a stored document, right or wrong, as an operator does with `vault kv patch`; null removes one.
func (m *Memory) Patch(id tokenstore.AccountID, keys map[string]json.RawMessage) {
	doc := m.Document(id)
	for k, v := range keys {
		if doc[k] = v; string(v) == "null" {
			delete(doc, k)
		}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		panic("tokenstoretest: " + err.Error())
	}
	_, _ = m.put(id, data, nil)
}

// Document returns a stored record key by key, as it is stored.
func (m *Memory) Document(id tokenstore.AccountID) map[string]json.RawMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	doc := map[string]json.RawMessage{}
	_ = json.Unmarshal(m.rows[id].data, &doc) // corrupt, or there is none
	return doc
}

// Corrupt makes a record undecodable.
func (m *Memory) Corrupt(id tokenstore.AccountID) { _, _ = m.put(id, []byte("{"), nil) }

// Delete implements tokenstore.Backend.
func (m *Memory) Delete(ctx context.Context, id tokenstore.AccountID, expect tokenstore.Version) error {
	if err := m.before(ctx, "delete", id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch r, ok := m.rows[id]; {
	case !ok:
		return tokenstore.ErrNotFound
	case r.version != expect:
		return tokenstore.ErrConflict
	}
	delete(m.rows, id)
	m.tell(id)
	return nil
}

func (m *Memory) tell(id tokenstore.AccountID) {
	for w := range m.watchers {
		select {
		case w <- id:
		default:
			panic("tokenstoretest: a watcher is 10,000 changes behind")
		}
	}
}

// Watch implements tokenstore.Backend.
func (m *Memory) Watch(ctx context.Context, changed func(tokenstore.AccountID), _ func(error)) error {
	w := make(chan tokenstore.AccountID, 10_000)
	m.mu.Lock()
	m.watchers[w] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, w)
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-w:
			changed(id)
		}
	}
}

// Close implements tokenstore.Backend.
func (m *Memory) Close() error { return nil }
