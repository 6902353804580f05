package vault_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault"
)

// setUp runs deploy/vault/setup.sh and returns the folder with the AppRole's ids, and what it printed.
func setUp(t *testing.T, s *vaultserver.Server, folder string, env ...string) string {
	t.Helper()
	binary, err := vaultserver.Binary()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "../../deploy/vault/setup.sh", folder)
	cmd.Env = append(append(s.Env(), "VAULT="+binary), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func withRole(t *testing.T, f fixture, folder string) vault.Config {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(folder, "role_id"))
	must(t, err)
	f.cfg.Auth = vault.Auth{AppRole: &vault.AppRole{RoleID: strings.TrimSpace(string(id)), SecretIDFile: filepath.Join(folder, "secret_id")}}
	return f.cfg
}

// prepared returns a server that setup.sh prepared for a mount and prefix of its own, and the service's configuration.
func prepared(t *testing.T) (fixture, vault.Config) {
	t.Helper()
	f := prepare(t, own(t, vaultserver.StartDev))
	f.cfg.Mount, f.cfg.Prefix = "team", "llm/gateway"
	folder := t.TempDir()
	env := []string{"MOUNT=team", "PREFIX=llm/gateway", "NAME=gw"}
	if out := setUp(t, f.Server, folder, env...); !strings.Contains(out, "mount team/: enabled") {
		t.Errorf("printed %s", out)
	}
	secretID, err := os.ReadFile(filepath.Join(folder, "secret_id"))
	must(t, err)
	out := setUp(t, f.Server, folder, env...)
	again, err := os.ReadFile(filepath.Join(folder, "secret_id"))
	if err != nil || string(again) != string(secretID) || !strings.Contains(out, "mount team/: is there") {
		t.Errorf("a second run (%v) changed the secret id or printed %s", err, out)
	}
	if strings.Contains(out, strings.TrimSpace(string(secretID))) {
		t.Error("the secret id is printed")
	}
	return f, withRole(t, f, folder)
}

func TestTheServicesPolicyAllowsItsCallsAndNothingMore(t *testing.T) {
	f, cfg := prepared(t)
	root, _ := open(t, f.cfg)
	v := put(t, root, "a", "rt", 0)
	b, _ := open(t, cfg)
	reports := watch(t, b)
	wantReport(t, reports, "a", "the account")
	wantToken(t, b, "a", "rt")
	v = put(t, b, "a", "rt2", v)
	wantReport(t, reports, "a", "the write")
	if heads, err := b.List(t.Context()); err != nil || ids(heads) != "a@2" {
		t.Errorf("listed %q, %v", ids(heads), err)
	}
	if _, _, err := b.Load(t.Context(), "nobody"); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("loading nobody: %v", err)
	}
	_, err := b.CompareAndSwap(t.Context(), "new", sample("rt"), 0)
	wantWords(t, err, `lacks "create" on team/data/llm/gateway/new`)
	wantWords(t, b.Delete(t.Context(), "a", v), `lacks "delete" on team/metadata/llm/gateway/a`)
	wantToken(t, b, "a", "rt2") // no tombstone

	client := clientWith(t, f, cfg)
	for _, path := range []string{"team/data/other", "team/data/llm/other/x", "team/config", "sys/mounts", "sys/policies/acl/gw-service", "auth/approle/role/gw", "secret/data/x", "cubbyhole/x"} {
		wantForbidden(t, "reading "+path, func() error { _, err := client.Logical().ReadWithContext(t.Context(), path); return err })
		wantForbidden(t, "writing "+path, func() error {
			_, err := client.Logical().WriteWithContext(t.Context(), path, map[string]any{"data": map[string]any{}})
			return err
		})
	}
	for _, path := range []string{"team/metadata/llm/gateway/a", "team/data/llm/gateway/a"} {
		wantForbidden(t, "deleting "+path, func() error { _, err := client.Logical().DeleteWithContext(t.Context(), path); return err })
	}
	wantForbidden(t, "changing metadata", func() error {
		_, err := client.Logical().WriteWithContext(t.Context(), "team/metadata/llm/gateway/a", map[string]any{"max_versions": 1})
		return err
	})
	for _, path := range []string{"team/metadata/llm", "team/metadata", "team/metadata/llm/other"} {
		wantForbidden(t, "listing "+path, func() error { _, err := client.Logical().ListWithContext(t.Context(), path); return err })
	}
}

func TestTheOperatorsPolicyAllowsWhatVaultKVDoes(t *testing.T) {
	f, _ := prepared(t)
	operator := f
	token := newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{"gw-operator"}})
	copied := *f.Server
	copied.Token = token
	operator.Server = &copied
	operator.kv(t, []string{"put"}, "a", "provider=p", "type=oauth_refresh", "refresh_token=rt")
	operator.kv(t, []string{"patch", "-method=patch"}, "a", "refresh_token=rt2")
	operator.kv(t, []string{"rollback", "-version=1"}, "a")
	operator.kv(t, []string{"delete"}, "a")
	operator.kv(t, []string{"undelete", "-versions=3"}, "a")
	operator.kv(t, []string{"destroy", "-versions=1"}, "a")
	operator.kv(t, []string{"metadata", "put", "-max-versions=9"}, "a")
	if out := operator.kv(t, []string{"metadata", "get"}, "a"); !strings.Contains(out, "max_versions") {
		t.Errorf("metadata: %s", out)
	}
	operator.cfg.Auth = vault.Auth{TokenFile: file(t, "token", token)}
	b, _ := open(t, operator.cfg)
	v := put(t, b, "b", "rt", 0)
	must(t, b.Delete(t.Context(), "b", v))
	operator.kv(t, []string{"metadata", "delete"}, "a")
	if out, err := operator.CLI(t.Context(), "kv", "put", "-mount=team", "other/x", "a=b"); err == nil {
		t.Errorf("an operator may write elsewhere: %s", out)
	}
}

// clientWith logs in as the service does, and may be used for what the backend never does.
func clientWith(t *testing.T, f fixture, cfg vault.Config) *api.Client {
	t.Helper()
	secretID, err := os.ReadFile(cfg.Auth.AppRole.SecretIDFile)
	must(t, err)
	secret := write(t, f.Server, "auth/approle/login", map[string]any{"role_id": cfg.Auth.AppRole.RoleID, "secret_id": strings.TrimSpace(string(secretID))})
	if policies := secret.Auth.Policies; !slices.Equal(policies, []string{"gw-service"}) {
		t.Errorf("the service's policies are %v", policies)
	}
	client, err := f.Root.CloneWithHeaders()
	must(t, err)
	client.SetToken(secret.Auth.ClientToken)
	return client
}

func wantForbidden(t *testing.T, what string, f func() error) {
	t.Helper()
	var answer *api.ResponseError
	if err := f(); !errors.As(err, &answer) || answer.StatusCode != 403 {
		t.Errorf("%s: %v, want status 403", what, fmt.Sprint(err))
	}
}
