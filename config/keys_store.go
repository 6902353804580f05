package config

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// This file has the tables of the section store.

const projectedToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

func (s *Store) keys() section {
	return section{
		key("sqlite", object(s.SQLite.keys()).when(func() bool { return s.Vault == nil }), "",
			"An encrypted file on this machine.").must("not with `vault`"),
		key("vault", optional(&s.Vault, vaultKeys), "", "HashiCorp Vault, KV v2.").must("not with `sqlite`"),
		key("journal_dir", file(&s.JournalDir), "./data/journal",
			"Sealed crash journal of rotations that are not saved yet; `\"\"` switches it off."),
	}
}

func (s *SQLite) keys() section {
	return section{
		key("path", file(&s.Path), "./data/tokenward.db", "The database.").must("not empty"),
		key("key_file", file(&s.KeyFile), "./data/tokenward.key",
			"Its key; made (0600) when it is missing.").must("not empty"),
	}
}

func vaultKeys(v *access.Config) section {
	return section{
		key("address", text(&v.Address).as("URL"), "", "Where Vault answers.").from("VAULT_ADDR").
			must("https, or http to a loopback host; HOST[:PORT] alone"),
		key("namespace", text(&v.Namespace), "", "Vault Enterprise's namespace.").must("empty on the community edition"),
		key("ca_file", file(&v.CAFile), "", "PEM file of trust anchors for its certificate.").or("the system's"),
		key("mount", text(&v.Mount), "secret", "The mount of the secrets engine.").must(access.PathRule),
		key("prefix", text(&v.Prefix), "tokenward/accounts", "The folder of the accounts in it.").must(access.PathRule),
		key("poll", duration(&v.Poll, time.Second), "15s", "How often changes by others are looked for.").
			must("at most a tenth of `renewal.lead`, if that is a duration"),
		key("auth", object(authKeys(&v.Auth)), "", "How the service logs in.").must("exactly one of these"),
	}
}

func authKeys(a *access.Auth) section {
	return section{
		key("token_file", file(&a.TokenFile).when(func() bool { return a.TokenFile != "" }), "",
			"A token that somebody else keeps alive or replaces."),
		key("approle", optional(&a.AppRole, appRoleKeys), "", "A role id and a secret id."),
		key("kubernetes", optional(&a.Kubernetes, workloadKeys("kubernetes", projectedToken)), "",
			"The token of a service account."),
		key("jwt", optional(&a.JWT, workloadKeys("jwt", "")), "", "Any signed token."),
		key("cert", optional(&a.Cert, certKeys), "", "A TLS client certificate."),
	}
}

func appRoleKeys(m *access.AppRole) section {
	return section{
		key("mount", text(&m.Mount), "approle", "The mount of the login.").must("not empty"),
		key("role_id", text(&m.RoleID), "", "The role id.").must("it or `role_id_file`"),
		key("role_id_file", file(&m.RoleIDFile), "", "A file with it."),
		key("secret_id_file", file(&m.SecretIDFile), "", "A file with the secret id.").must("not empty"),
	}
}

func workloadKeys(mount, token string) func(*access.Workload) section {
	return func(m *access.Workload) section {
		return section{
			key("mount", text(&m.Mount), mount, "The mount of the login.").must("not empty"),
			key("role", text(&m.Role), "", "Vault's role.").must("not empty"),
			key("token_file", file(&m.TokenFile), token, "The token.").must("not empty"),
		}
	}
}

func certKeys(m *access.Cert) section {
	return section{
		key("mount", text(&m.Mount), "cert", "The mount of the login.").must("not empty"),
		key("role", text(&m.Role), "", "Vault's role.").or("Vault chooses by the certificate"),
		key("cert_file", file(&m.CertFile), "", "PEM file of the certificate.").must("not empty"),
		key("key_file", file(&m.KeyFile), "", "PEM file of its private key.").must("not empty"),
	}
}
