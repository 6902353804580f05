package vaultserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/integration/port"
)

const raftConfig = `
disable_mlock = true
api_addr      = "http://%[1]s"
cluster_addr  = "http://%[2]s"
listener "tcp" {
  address         = "%[1]s"
  cluster_address = "%[2]s"
  tls_disable     = true
}
storage "raft" {
  path    = %[3]q
  node_id = "one"
}
`

// StartRaft starts a single node on raft: initialized, unsealed, KV v2 at secret/. Its data outlives Kill and Start.
func StartRaft() (*Server, error) {
	address := port.Address()
	s, err := prepare(address, false)
	if err != nil {
		return nil, err
	}
	if err := s.startRaft(address, port.Address()); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) startRaft(address, cluster string) error {
	data := filepath.Join(s.folder, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	config := filepath.Join(s.folder, "vault.hcl")
	if err := os.WriteFile(config, fmt.Appendf(nil, raftConfig, address, cluster, data), 0o600); err != nil {
		return err
	}
	s.args = []string{"server", "-config=" + config}
	if err := s.Start(); err != nil {
		return err
	}
	init, err := s.Root.Sys().Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return err
	}
	s.Token, s.unseal = init.RootToken, init.KeysB64[0]
	s.Root.SetToken(s.Token)
	if err := s.Unseal(); err != nil {
		return err
	}
	if err := s.Root.Sys().
		Mount("secret", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		return err
	}
	return s.until(func() error { // a fresh KV v2 mount refuses until its upgrade from nothing is done
		_, err := s.Root.Logical().Write("secret/data/probe", map[string]any{"data": map[string]any{}})
		return err
	})
}

// Seal seals the server: it answers 503 to everything that needs data.
func (s *Server) Seal() error { return s.Root.Sys().Seal() }

// Unseal unseals the server and returns when it can be used.
func (s *Server) Unseal() error {
	return s.until(func() error {
		if _, err := s.Root.Sys().Unseal(s.unseal); err != nil {
			return err
		}
		_, err := s.Root.Auth().Token().LookupSelf()
		return err
	})
}
