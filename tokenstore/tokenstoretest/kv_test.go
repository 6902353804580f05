package tokenstoretest_test

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestKVConformsToTheBackendContract(t *testing.T) {
	tokenstoretest.Conformance(t, func(*testing.T) tokenstore.Backend {
		engine := tokenstoretest.NewKV(tokenstoretest.KVConfig{})
		return corruptible{engine.Client(tokenstoretest.ClientConfig{Operator: true, Poll: 50 * time.Millisecond}), engine}
	}, tokenstoretest.VersionsRestart)
}

// corruptible is a client whose records can be damaged behind its back.
type corruptible struct {
	tokenstore.Backend
	engine *tokenstoretest.KV
}

func (c corruptible) Corrupt(id tokenstore.AccountID) {
	if _, err := c.engine.Put(id, map[string]any{"nonsense": "x"}); err != nil {
		panic(err)
	}
}
