package vault_test

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/vault"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
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
	token := access.Auth{TokenFile: file(t, "token", "t")}
	at := func(address string) vault.Config { return usual(address, token) }
	with := func(auth access.Auth) vault.Config { return usual("https://vault", auth) }
	trusting := func(file string) vault.Config {
		cfg := at("https://vault")
		cfg.CAFile = file
		return cfg
	}
	cert := &access.Cert{Mount: "cert", CertFile: "/no", KeyFile: "/no"}
	approle := access.AppRole{Mount: "approle", RoleID: "r", RoleIDFile: "f", SecretIDFile: "s"}
	for name, c := range map[string]struct {
		cfg   vault.Config
		words []string
	}{
		"no address":            {at(""), []string{"store.vault.address must be given, e.g. https://vault"}},
		"no scheme":             {at("vault:8200"), []string{`address "vault:8200" must be https://HOST`}},
		"another scheme":        {at("ftp://vault"), []string{"must be https://HOST[:PORT]"}},
		"a password in the URL": {at("https://u:p@vault"), []string{`address "https://[hidden]@vault" must be https`}},
		"a path in the URL":     {at("https://vault/v1"), []string{"must be https://HOST[:PORT]"}},
		"plain http":            {at("http://vault.example:8200"), []string{"http is only for loopback hosts"}},
		"plain http by address": {at("http://10.0.0.1:8200"), []string{"http is only for loopback hosts"}},
		"no CA file":            {trusting("/nonexistent"), []string{"ca_file", "no such file"}},
		"CA file without one":   {trusting(file(t, "ca", "x")), []string{"ca_file", "PEM"}},
		"no auth":               {with(access.Auth{}), []string{"store.vault.auth must have exactly one of token_file"}},
		"two kinds of auth":     {with(access.Auth{TokenFile: "t", Cert: cert}), []string{"exactly one"}},
		"no client certificate": {with(access.Auth{Cert: cert}), []string{"auth.cert"}},
		"many": {
			vault.Config{Config: access.Config{
				Mount: "/a", Prefix: "../x", Poll: -time.Second, Auth: access.Auth{AppRole: &access.AppRole{}},
			}},
			[]string{
				"address must", `mount "/a" must`, `prefix "../x" must`, `poll "-1s" must`, "approle.mount must be given",
				"approle.role_id (or role_id_file) must", "approle.secret_id_file must",
			},
		},
		"two role ids":    {with(access.Auth{AppRole: &approle}), []string{"auth.approle has both role_id and role_id_file"}},
		"a JWT of nobody": {with(access.Auth{JWT: &access.Workload{}}), []string{"jwt.role must", "jwt.token_file must"}},
		"no pod's role":   {with(access.Auth{Kubernetes: &access.Workload{}}), []string{"kubernetes.role must"}},
		"half a pair":     {with(access.Auth{Cert: &access.Cert{CertFile: "c"}}), []string{"cert.key_file must"}},
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
