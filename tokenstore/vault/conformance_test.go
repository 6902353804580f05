package vault_test

import (
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestVaultConformsToTheBackendContract(t *testing.T) {
	tokenstoretest.Conformance(t, func(t *testing.T) tokenstore.Backend {
		f := prepare(t, server(t))
		b, _ := open(t, f.cfg)
		return spoilable{b, t, f}
	}, tokenstoretest.VersionsRestart)
}

// spoilable is a backend whose records can be damaged behind its back.
type spoilable struct {
	tokenstore.Backend
	t *testing.T
	fixture
}

func (s spoilable) Corrupt(id tokenstore.AccountID) { s.kv(s.t, []string{"put"}, id, "nonsense=x") }
