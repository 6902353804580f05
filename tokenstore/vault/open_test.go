package vault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/vault"
)

func wantRefusal(t *testing.T, cfg vault.Config, words ...string) {
	t.Helper()
	b, err := vault.Open(t.Context(), cfg, zap.NewNop())
	if err == nil {
		_ = b.Close()
	}
	wantWords(t, err, words...)
}

func TestAnImpossibleConfigurationFailsAtOnceWithAllItsProblems(t *testing.T) {
	token := vault.Auth{TokenFile: file(t, "token", "t")}
	for name, c := range map[string]struct {
		cfg   vault.Config
		words []string
	}{
		"no address":            {vault.Config{Auth: token}, []string{"address"}},
		"no scheme":             {vault.Config{Address: "vault:8200", Auth: token}, []string{"address"}},
		"another scheme":        {vault.Config{Address: "ftp://vault", Auth: token}, []string{"use https"}},
		"a password in the URL": {vault.Config{Address: "https://u:p@vault", Auth: token}, []string{"without credentials"}},
		"plain http":            {vault.Config{Address: "http://vault.example:8200", Auth: token}, []string{"clear text", "use https"}},
		"plain http by address": {vault.Config{Address: "http://10.0.0.1:8200", Auth: token}, []string{"clear text"}},
		"no CA file":            {vault.Config{Address: "https://vault", CAFile: "/nonexistent", Auth: token}, []string{"ca_file", "no such file"}},
		"CA file without one":   {vault.Config{Address: "https://vault", CAFile: file(t, "ca", "x"), Auth: token}, []string{"ca_file", "PEM"}},
		"no auth":               {vault.Config{Address: "https://vault"}, []string{"exactly one", "given: 0"}},
		"two kinds of auth":     {vault.Config{Address: "https://vault", Auth: vault.Auth{TokenFile: "t", Cert: &vault.Cert{CertFile: "c", KeyFile: "k"}}}, []string{"exactly one", "given: 2"}},
		"no client certificate": {vault.Config{Address: "https://vault", Auth: vault.Auth{Cert: &vault.Cert{CertFile: "/no", KeyFile: "/no"}}}, []string{"auth.cert"}},
		"many": {
			vault.Config{Address: "https://vault", Mount: "a*", Prefix: "../x", Poll: -time.Second, Auth: vault.Auth{AppRole: &vault.AppRole{}}},
			[]string{`mount "a*"`, `prefix "../x"`, "poll", "approle.role_id", "approle.secret_id_file"},
		},
		"a JWT of nobody": {vault.Config{Address: "https://vault", Auth: vault.Auth{JWT: &vault.Workload{}}}, []string{"jwt.role", "jwt.token_file"}},
		"no pod's role":   {vault.Config{Address: "https://vault", Auth: vault.Auth{Kubernetes: &vault.Workload{}}}, []string{"kubernetes.role"}},
	} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, c.cfg, c.words...) })
	}
}

func TestAMountThatIsNotThereIsRefused(t *testing.T) {
	f := prepare(t, server(t), "default")
	f.cfg.Mount = "nowhere"
	wantRefusal(t, f.cfg, "nowhere/", "there is none", "store.vault.mount")
}

func TestAnEngineOfAnotherKindIsRefused(t *testing.T) {
	f := prepare(t, server(t))
	f.cfg.Mount = "sys"
	wantRefusal(t, f.cfg, `type "system"`)
}

func TestKVVersionOneIsRefused(t *testing.T) {
	f := prepare(t, server(t))
	must(t, f.Root.Sys().MountWithContext(t.Context(), "kv-old", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
	f.cfg.Mount = "kv-old"
	wantRefusal(t, f.cfg, "KV version 1", "enable-versioning kv-old")
}

func TestANamespaceOnTheCommunityEditionIsRefused(t *testing.T) {
	f := prepare(t, server(t))
	f.cfg.Namespace = "team-a"
	wantRefusal(t, f.cfg, "community edition", "team-a", "remove store.vault.namespace")
}

func TestALoginWhoseMountIsRefusedLeavesNoTokenBehind(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, nil)
	cfg := f.cfg
	cfg.Mount = "nowhere"
	wantRefusal(t, cfg, "nowhere/")
	if n := len(f.accessors(t)); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	s := server(t)
	cfg := vault.Config{Address: s.Address, Auth: vault.Auth{TokenFile: file(t, "token", s.Token)}}
	b, _ := open(t, cfg)
	v := put(t, b, "defaults", "rt", 0)
	out, err := s.CLI(t.Context(), "kv", "get", "-field=refresh_token", "-mount=secret", "tokenward/accounts/defaults")
	if err != nil || strings.TrimSpace(out) != "rt" {
		t.Errorf("read %q, %v", out, err)
	}
	must(t, b.Delete(t.Context(), "defaults", v))
}
