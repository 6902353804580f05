package main

import (
	"testing"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

func TestCommandsLogInWithTheOperatorsTokenOfThisVault(t *testing.T) {
	const here = "https://vault.example:8200"
	at := func(auth access.Auth) config.Store {
		return config.Store{Vault: &access.Config{Address: here, Auth: auth}}
	}
	role := access.Auth{AppRole: &access.AppRole{}}
	for name, c := range map[string]struct {
		store config.Store
		env   map[string]string
		want  string
	}{
		"no token":              {at(role), nil, ""},
		"a token":               {at(role), map[string]string{"VAULT_TOKEN": "t\n"}, "t"},
		"of this Vault":         {at(role), map[string]string{"VAULT_TOKEN": "t", "VAULT_ADDR": here + "/"}, "t"},
		"of another Vault":      {at(role), map[string]string{"VAULT_TOKEN": "t", "VAULT_ADDR": "https://other:8200"}, ""},
		"a file is configured":  {at(access.Auth{TokenFile: "f"}), map[string]string{"VAULT_TOKEN": "t"}, ""},
		"the store is no Vault": {config.Store{}, map[string]string{"VAULT_TOKEN": "t"}, ""},
	} {
		got := operatorsToken(c.store, func(k string) (string, bool) { v, ok := c.env[k]; return v, ok })
		if got.Reveal() != c.want {
			t.Errorf("%s: %q, want %q", name, got.Reveal(), c.want)
		}
	}
}
