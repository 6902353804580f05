package vaultserver_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tokenward/tokenward/integration/vaultserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestARaftServerKeepsItsDataWhenItIsKilled(t *testing.T) {
	s, err := vaultserver.StartRaft()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, s.Stop()) }()
	out, err := s.CLI(t.Context(), "kv", "put", "secret/a", "key=value")
	if err != nil {
		t.Fatal(out, err)
	}
	must(t, s.Kill())
	must(t, s.Start())
	if _, err := s.Root.Logical().Read("secret/data/a"); err == nil {
		t.Error("a restarted server is not sealed")
	}
	must(t, s.Unseal())
	must(t, s.Seal())
	must(t, s.Unseal())
	if out, err := s.CLI(t.Context(), "kv", "get", "-field=key", "secret/a"); err != nil ||
		strings.TrimSpace(out) != "value" {
		t.Errorf("read back %q, %v", out, err)
	}
}

func TestADevelopmentServerCanSpeakTLS(t *testing.T) {
	s, err := vaultserver.StartDevTLS()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, s.Stop()) }()
	if out, err := s.CLI(t.Context(), "kv", "put", "secret/a", "key=value"); err != nil {
		t.Error(out, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
