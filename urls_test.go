package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/config"
)

func TestARunningGatewaySaysWhereItIsAndHowToTryIt(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret-of-the-page\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(c *config.Config)
		want []string
	}{
		"the starter": {func(*config.Config) {}, []string{
			"gateway  http://127.0.0.1:10000\n", "page     http://127.0.0.1:8980/#token=secret-of-the-page\n",
			"try      curl -i -H 'anthropic-version: 2023-06-01' http://127.0.0.1:10000/v1/models\n",
		}},
		"everywhere, with TLS": {func(c *config.Config) { c.Envoy.Listen, c.Envoy.TLS.CertFile = "0.0.0.0:443", "x" }, []string{"gateway  https://localhost:443\n"}},
		"another path":         {func(c *config.Config) { c.Routes[0].Prefix = "/llm/" }, []string{" http://127.0.0.1:10000/llm/\n"}},
		"every path":           {func(c *config.Config) { c.Routes[0].Prefix = "/" }, []string{" http://127.0.0.1:10000/v1/models\n"}},
		"one host":             {func(c *config.Config) { c.Routes[0].Hosts = []string{"llm.example"} }, []string{"-H 'Host: llm.example' http"}},
	} {
		cfg := starter(t)
		c.edit(cfg)
		var out strings.Builder
		urlsOf(cfg).print(&out, token, []string{"there is no account", "there is no account"})
		for _, want := range append(c.want, "note     there is no account\n") {
			if strings.Count(out.String(), want) != 1 {
				t.Errorf("%s: %q is not there once:\n%s", name, want, out.String())
			}
		}
	}
}

// starter is what init writes.
func starter(t *testing.T) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), defaultFile)
	if err := os.WriteFile(file, config.Starter(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheStartersSecondProviderWorksWithTheCommandBesideIt(t *testing.T) {
	t.Chdir(t.TempDir())
	text, block, found := strings.Cut(string(config.Starter()), "# providers:\n")
	lines := strings.Split("# providers:\n"+block, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "# ")
	}
	text = strings.Replace(text, "[anthropic]", "[anthropic, mine]", 1) + strings.Join(lines, "\n")
	_, command, told := strings.Cut(text, "tokenward accounts add mine-1")
	command, _, _ = strings.Cut(command, "\n")
	if !found || !told {
		t.Fatalf("the starter has another shape:\n%s", text)
	}
	for file, data := range map[string]string{defaultFile: text, "token.txt": "rt-of-mine"} {
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := root()
	c.SetArgs(append([]string{"accounts", "add"}, strings.Fields("mine-1"+command)...))
	var out strings.Builder
	c.SetOut(&out)
	if err := c.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "mine-1") {
		t.Errorf("%s: %v: %s", command, err, out.String())
	}
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	if p := cfg.Upstreams["mine"].Pool; p != "my-idp" || cfg.Pools[p].Provider != "my-idp" {
		t.Errorf("the upstream takes pool %s", p)
	}
}
