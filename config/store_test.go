package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

func vaultWith(auth string) string {
	return smallest + "store: { vault: { address: 'https://vault.example:8200', auth: { " + auth + " } } }\n"
}

func TestAVaultSectionHasDefaultsAndReplacesSQLite(t *testing.T) {
	c := mustLoad(t, vaultWith("approle: { role_id: r, secret_id_file: s.id }"))
	v := c.Store.Vault
	v.Auth.AppRole.SecretIDFile = filepath.Base(v.Auth.AppRole.SecretIDFile)
	want := &access.Config{
		Address: "https://vault.example:8200", Mount: "secret", Prefix: "tokenward/accounts", Poll: 15 * time.Second,
		Auth: access.Auth{AppRole: &access.AppRole{Mount: "approle", RoleID: "r", SecretIDFile: "s.id"}},
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if mustLoad(t, smallest).Store.Vault != nil {
		t.Error("Vault is used without being asked for")
	}
}

func TestEveryWayToLogInCanBePrintedAndLoadedAgain(t *testing.T) {
	for _, auth := range []string{
		"token_file: t", "approle: { mount: a, role_id: r, secret_id_file: s }",
		"approle: { role_id_file: r, secret_id_file: s }", "kubernetes: { role: r }", "jwt: { role: r, token_file: t }",
		"cert: { role: r, cert_file: c, key_file: k }",
	} {
		want := mustLoad(t, vaultWith(auth))
		printed, err := Print(want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Store.Vault, mustLoad(t, string(printed)).Store.Vault); diff != "" {
			t.Errorf("%s (-want +got):\n%s", auth, diff)
		}
	}
}

func TestTheAddressOfVaultMayComeFromItsUsualVariable(t *testing.T) {
	c, err := load(t, smallest+"store: { vault: { auth: { token_file: t } } }\n", environment("VAULT_ADDR",
		"http://127.0.0.1:8200"))
	if err != nil || c.Store.Vault.Address != "http://127.0.0.1:8200" {
		t.Errorf("got %v", err)
	}
}

func TestARoleIDIsGivenOnceItselfOrInAFile(t *testing.T) {
	c := mustLoad(t, vaultWith("approle: { role_id_file: keys/role_id, secret_id_file: s }"))
	if file := c.Store.Vault.Auth.AppRole.RoleIDFile; !filepath.IsAbs(file) || filepath.Base(file) != "role_id" {
		t.Errorf("the file is %s", file)
	}
	for auth, words := range map[string]string{
		"approle: { secret_id_file: s }":                              "role_id (or role_id_file)",
		"approle: { role_id: r, role_id_file: f, secret_id_file: s }": "both role_id and role_id_file",
	} {
		if _, err := load(t, vaultWith(auth), noEnvironment); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", auth, err)
		}
	}
}

func TestTheProjectedTokenOfKubernetesIsFoundWithoutBeingNamed(t *testing.T) {
	if c := mustLoad(t, vaultWith("kubernetes: { role: r }")); c.Store.Vault.Auth.Kubernetes.TokenFile != projectedToken {
		t.Errorf("got %q", c.Store.Vault.Auth.Kubernetes.TokenFile)
	}
}

func TestAnAddressOfVaultWithAnImpossiblePortIsRefused(t *testing.T) {
	if _, err := load(t, smallest+"store: { vault: { address: 'https://vault.example:99999', auth: { token_file: t } } }\n", noEnvironment); err == nil {
		t.Error("accepted")
	}
}
