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
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
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

// shells are what setup.sh must run in: the last is Vault's image's.
var shells = [][]string{{"dash"}, {"busybox", "sh"}}

// trySetUp runs it in a shell and returns what it printed and how it ended.
func trySetUp(t *testing.T, s *vaultserver.Server, shell []string, folder string, env ...string) (string, error) {
	t.Helper()
	binary, err := vaultserver.Binary()
	must(t, err)
	args := append(slices.Clone(shell[1:]), "../../deploy/vault/setup.sh", folder)
	cmd := exec.CommandContext(t.Context(), shell[0], args...)
	cmd.Env = append(append(s.Env(), "VAULT="+binary), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestSettingUpAgainReplacesASecretIDThatTheRoleDoesNotKnow(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartDev))
	for _, shell := range shells {
		folder := t.TempDir()
		path := filepath.Join(folder, "secret_id")
		var before string
		run := func(wants string) {
			t.Helper()
			out, err := trySetUp(t, f.Server, shell, folder)
			must(t, err)
			now, err := os.ReadFile(path)
			must(t, err)
			if kept := string(now) == before; kept != (wants == "kept") || !strings.Contains(out, "secret_id  ("+wants) || strings.Contains(out, string(now)) {
				t.Errorf("%v: want it %s; it is the old one: %v; printed %s", shell, wants, kept, out)
			}
			before = string(now)
			info, err := os.Stat(path)
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v", info.Mode())
			}
			cfg := withRole(t, f, folder)
			cfg.Mount, cfg.Prefix = "secret", "tokenward/accounts"
			b, _ := open(t, cfg)
			_, err = b.List(t.Context())
			must(t, err)
		}
		run("new")
		run("kept")
		must(t, os.WriteFile(path, []byte(before+"\n"), 0o600)) // an editor's line end
		before += "\n"
		run("kept")
		_, err := f.Root.Logical().DeleteWithContext(t.Context(), "auth/approle/role/tokenward")
		must(t, err)
		run("new")
		must(t, os.WriteFile(path, []byte("of-another-vault"), 0o600))
		run("new")
	}
}

func TestSettingUpTakesSlashesAroundMountAndPrefix(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartDev))
	for _, shell := range shells {
		out, err := trySetUp(t, f.Server, shell, t.TempDir(), "MOUNT=secret/", "PREFIX=/tokenward/accounts/")
		must(t, err)
		policy, err := f.Root.Sys().GetPolicyWithContext(t.Context(), "tokenward-service")
		must(t, err)
		if !strings.Contains(policy, `"secret/data/tokenward/accounts/*"`) || strings.Contains(policy, "//") || !strings.Contains(out, "mount secret/: is there") {
			t.Errorf("printed %s; the policy is %s", out, policy)
		}
	}
}

func TestSettingUpRefusesBeforeItChangesAnything(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartDev))
	weak := newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{"default"}})
	for name, c := range map[string]struct {
		env   []string
		wants []string
	}{
		"prefix of sed's":     {[]string{"PREFIX=x&y#z"}, []string{`PREFIX: "x&y#z"`, "a-z A-Z 0-9"}},
		"prefix with a climb": {[]string{"PREFIX=../x"}, []string{`PREFIX: "../x"`, "a-z A-Z 0-9"}},
		"mount of two lines":  {[]string{"MOUNT=a\nb"}, []string{"MOUNT:", "a-z A-Z 0-9"}},
		"mount of slashes":    {[]string{"MOUNT=//"}, []string{`MOUNT: "//"`, "a-z A-Z 0-9"}},
		"name with a slash":   {[]string{"NAME=a/b"}, []string{"NAME:", "slash"}},
		"name like a flag":    {[]string{"NAME=-x"}, []string{"NAME:", "a-z A-Z 0-9"}},
		"no program":          {[]string{"VAULT=/nowhere/vault"}, []string{"/nowhere/vault", "no such program", "set VAULT"}},
		"no Vault":            {[]string{"VAULT_ADDR=http://127.0.0.1:1"}, []string{"http://127.0.0.1:1", "connection refused", "check VAULT_ADDR"}},
		"https to http":       {[]string{"VAULT_ADDR=" + strings.Replace(f.Server.Address, "http:", "https:", 1)}, []string{"HTTP response to HTTPS client", "check VAULT_ADDR"}},
		"wrong token":         {[]string{"VAULT_TOKEN=hvs.nobody"}, []string{"about VAULT_TOKEN", "check VAULT_ADDR, VAULT_CACERT and VAULT_TOKEN"}},
		"weak token":          {[]string{"VAULT_TOKEN=" + weak}, []string{"does not allow to write sys/policies/acl/new-service", "somebody who may"}},
		"an end in words":     {[]string{"SECRET_ID_TTL=a while"}, []string{"SECRET_ID_TTL:", "720h"}},
		"uses in words":       {[]string{"SECRET_ID_USES=-1"}, []string{"SECRET_ID_USES:", "50"}},
		"addresses by name":   {[]string{"BOUND_CIDRS=my.host x"}, []string{"BOUND_CIDRS:", "10.0.0.0/8"}},
		"another engine":      {[]string{"MOUNT=cubbyhole"}, []string{"no KV v2", "set MOUNT"}},
	} {
		for _, shell := range shells {
			folder := filepath.Join(t.TempDir(), "keys")
			out, err := trySetUp(t, f.Server, shell, folder, append([]string{"MOUNT=fresh", "NAME=new"}, c.env...)...)
			if err == nil || strings.Count(strings.TrimSpace(out), "\n") > strings.Count(c.env[0], "\n") || !strings.HasSuffix(out, "nothing was changed\n") {
				t.Errorf("%s in %v: %v: printed %s", name, shell, err, out)
			}
			for _, want := range c.wants {
				if !strings.Contains(out, want) {
					t.Errorf("%s in %v: %q is missing in %s", name, shell, want, out)
				}
			}
			if _, err := os.Stat(folder); err == nil {
				t.Errorf("%s: the folder is there", name)
			}
		}
	}
	mounts, err := f.Root.Sys().ListMountsWithContext(t.Context())
	must(t, err)
	policies, err := f.Root.Sys().ListPoliciesWithContext(t.Context())
	must(t, err)
	if mounts["fresh/"] != nil || slices.ContainsFunc(policies, func(p string) bool { return strings.HasPrefix(p, "new") }) {
		t.Errorf("something was changed: %v, %v", mounts, policies)
	}
}

func withRole(t *testing.T, f fixture, folder string) vault.Config {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(folder, "role_id"))
	must(t, err)
	f.cfg.Auth = access.Auth{AppRole: &access.AppRole{Mount: "approle", RoleID: strings.TrimSpace(string(id)), SecretIDFile: filepath.Join(folder, "secret_id")}}
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
	operator.cfg.Auth = access.Auth{TokenFile: file(t, "token", token)}
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

func TestSecretIDsCanBeBounded(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartDev))
	for _, shell := range shells {
		folder := t.TempDir()
		bounds := []string{"SECRET_ID_TTL=1h", "SECRET_ID_USES=1", "BOUND_CIDRS=127.0.0.0/8,::1/128"}
		_, err := trySetUp(t, f.Server, shell, folder, bounds...)
		must(t, err)
		role, err := f.Root.Logical().ReadWithContext(t.Context(), "auth/approle/role/tokenward")
		must(t, err)
		for key, want := range map[string]string{
			"secret_id_ttl": "3600", "secret_id_num_uses": "1",
			"secret_id_bound_cidrs": "[127.0.0.0/8 ::1/128]", "token_bound_cidrs": "[127.0.0.0/8 ::1]",
		} {
			if got := fmt.Sprint(role.Data[key]); got != want {
				t.Errorf("%s: got %s, want %s", key, got, want)
			}
		}
		cfg := withRole(t, f, folder)
		cfg.Mount, cfg.Prefix = "secret", "tokenward/accounts"
		b, _ := open(t, cfg)
		_, err = b.List(t.Context())
		must(t, err)
		_, err = trySetUp(t, f.Server, shell, folder, "BOUND_CIDRS=192.0.2.7/32") // the uses are used up: a new one
		must(t, err)
		if b, err := vault.Open(t.Context(), cfg, zap.NewNop()); err == nil {
			if _, err = b.List(t.Context()); err == nil {
				t.Error("a login from another address is taken")
			}
			_ = b.Close()
		}
		_, err = trySetUp(t, f.Server, shell, folder) // the defaults again
		must(t, err)
	}
}
