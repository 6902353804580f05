package simulation

import (
	"context"
	"encoding/json"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// mark is what a look for changes sees of a record.
type mark struct {
	version tokenstore.Version
	deleted bool
}

// shelf is the store, as the simulation and its operators use it.
type shelf interface {
	Client() tokenstore.Backend
	Marks() map[tokenstore.AccountID]mark
	Put(id tokenstore.AccountID, r tokenstore.Record)
	Patch(id tokenstore.AccountID, keys map[string]json.RawMessage)
	Document(id tokenstore.AccountID) map[string]json.RawMessage
}

type memoryShelf struct{ *tokenstoretest.Memory }

func newShelf() shelf { return memoryShelf{tokenstoretest.NewMemory()} }

func (m memoryShelf) Client() tokenstore.Backend { return m.Memory }

func (m memoryShelf) Marks() map[tokenstore.AccountID]mark {
	heads, _ := m.List(context.Background())
	marks := map[tokenstore.AccountID]mark{}
	for _, h := range heads {
		marks[h.ID] = mark{version: h.Version}
	}
	return marks
}

func (m memoryShelf) Put(id tokenstore.AccountID, r tokenstore.Record) {
	_, v, _ := m.Load(context.Background(), id)
	if _, err := m.CompareAndSwap(context.Background(), id, r, v); err != nil {
		panic(err)
	}
}
