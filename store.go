package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/journal"
	"github.com/tokenward/tokenward/tokenstore/sqlite"
	"github.com/tokenward/tokenward/tokenstore/vault"
)

// backendName is the store's name in metrics.
func backendName(c config.Store) string {
	if c.Vault != nil {
		return "vault"
	}
	return "sqlite"
}

// storeAt names the configured store for people, and equal stores equally.
func storeAt(c config.Store) string {
	if v := c.Vault; v != nil {
		at := "vault " + strings.TrimRight(v.Address, "/") + " " + v.Mount + "/" + v.Prefix
		if v.Namespace != "" {
			at += " in namespace " + v.Namespace
		}
		return at
	}
	path := c.SQLite.Path
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return "sqlite " + path
}

// operatorsToken is what a command logs in to Vault with instead of the service's credential: VAULT_TOKEN, as Vault's
// own tool does. A configured token_file says which token is meant, and a VAULT_ADDR of another Vault whose VAULT_TOKEN
// is.
func operatorsToken(c config.Store, env func(string) (string, bool)) tokenstore.Secret {
	token, _ := env("VAULT_TOKEN")
	address, _ := env("VAULT_ADDR")
	v := c.Vault
	if v == nil || v.Auth.TokenFile != "" ||
		address != "" && strings.TrimRight(address, "/") != strings.TrimRight(v.Address, "/") {
		return tokenstore.Secret{}
	}
	return tokenstore.NewSecret(strings.TrimSpace(token))
}

// openBackend opens the configured store. In Vault operator, if any, takes the place of the configured login.
// files reads what is for TLS again, nil: once.
func openBackend(
	ctx context.Context, c config.Store, files *tlsfile.Files, operator tokenstore.Secret, log *zap.Logger,
) (tokenstore.Backend, error) {
	v := c.Vault
	if v == nil {
		return sqlite.Open(ctx, sqlite.Config(c.SQLite))
	}
	return vault.Open(ctx, vault.Config{Config: *v, Files: files, Token: operator}, log)
}

// watchLogin adds the metric of a backend that has to log in.
func watchLogin(reg prometheus.Registerer, name string, b tokenstore.Backend) {
	l, ok := b.(interface{ LoginExpires() time.Time })
	if !ok {
		return
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "tokenward", Name: "store_login_expiry_timestamp_seconds", ConstLabels: prometheus.Labels{"backend": name},
		Help: "When the service's own login to the store ends unless it is renewed; 0: never, or not logged in.",
	}, func() float64 {
		if at := l.LoginExpires(); !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	}))
}

// writable reports whether files can be made in a folder.
func writable(folder string) error {
	f, err := os.CreateTemp(folder, ".check-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// openJournal opens the crash journal, unless it is switched off.
func openJournal(c config.Store) (tokenstore.Journal, error) {
	if c.JournalDir == "" {
		return nil, nil //nolint:nilnil // the domain takes nil for none
	}
	return journal.Open(c.JournalDir)
}
