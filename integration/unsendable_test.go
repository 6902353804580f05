package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
	"github.com/tokenward/tokenward/integration/vaultserver"
)

func TestOnVaultAnAccountWhoseTokenFitsIntoNoHeaderStopsNoOther(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	key := func(k string) map[string]any { return map[string]any{"type": "api_key", "api_key": k} }
	broken := map[string]map[string]any{
		"two-lines": key("key-1\nkey-2"),
		"huge":      key(strings.Repeat("k", 200_000)),
		"injecting": {"type": "ANTHROPIC_OAUTH", "access_token": "tok\r\nX-Evil: 1", "expires_at": later},
	}
	for name, r := range broken {
		r["provider"], r["pools"] = "sim", "claude"
		if err := g.Opts.Put(name, r); err != nil {
			t.Fatal(err)
		}
	}
	for name := range broken {
		eventually(t, 10*time.Second, name+" is known", func() bool { return g.state(t, name) != "absent" })
	}
	for range 20 {
		served(t, g.post(t, ""), "")
	}
	for name, r := range broken {
		expect(t, "state of "+name, g.state(t, name), "config_error")
		wrong := map[bool]string{true: "api_key", false: "access_token"}[r["type"] == "api_key"]
		if why := fmt.Sprint(g.account(t, name)["reason"]); !strings.Contains(why, wrong+": must be printable ASCII") {
			t.Errorf("%s: %s", name, why)
		}
	}
	v.kv(t, "patch", "claude-1", "access_token=a\nb") // an account that served
	eventually(t, 10*time.Second, "claude-1 is out", func() bool { return g.state(t, "claude-1") == "config_error" })
	expect(t, "status without any usable account", g.post(t, "").Status, 503)
}

func TestTheLongestKeyReachesTheProviderWithAClientsManyHeaders(t *testing.T) {
	g := start(t, nil)
	key := strings.Repeat("k", 16<<10)
	if _, err := g.CLI(key, "accounts", "add", "long", "--provider", "sim", "--type", "api_key", "--pool", "claude",
		"--api-key-file", "-"); err != nil {
		t.Fatal(err)
	}
	if out, err := g.CLI(key+"k", "accounts", "add", "longer", "--provider", "sim", "--type", "api_key", "--pool",
		"claude", "--api-key-file", "-"); err == nil ||
		!strings.Contains(out, "api_key: must be printable ASCII") {
		t.Errorf("got %v: %s", err, out)
	}
	eventually(t, 3*time.Second, "it is active", func() bool { return g.state(t, "long") == "active" })
	eventually(t, 5*time.Second, "it reaches the provider", func() bool {
		// another account serves: the provider knows no such key
		expect(t, "status", g.askWith(t, 40, strings.Repeat("v", 1000)).Status, 200)
		for _, s := range g.Provider.Seen("") {
			if k := http.Header(s.Headers).Get("x-api-key"); k == key {
				return true
			}
		}
		return false
	})
}

func TestAnAccessTokenThatCannotBeSentIsNotUsedAndItsRefreshTokenIsNotLost(t *testing.T) {
	g := start(t, nil)
	g.Provider.Script("claude-1", provider.Script{TokenTail: "\r\nX-Evil: 1"})
	_, out := g.force(t, "claude-1")
	if said := fmt.Sprint(out); !strings.Contains(said, "misconfigured") ||
		!strings.Contains(said, "access_token must be printable ASCII") {
		t.Errorf("the operator is told: %s", said)
	}
	for range 10 {
		served(t, g.post(t, ""), "")
	}
	g.Provider.Script("claude-1", provider.Script{})
	g.cli(t, "accounts", "refresh", "claude-1", "--force")
	a := g.Provider.Account("claude-1")
	expect(t, "redemptions", a.Redemptions, 2)
	expect(t, "reuses", a.Reuses, 0)
	eventually(t, 3*time.Second, "it is active", func() bool { return g.state(t, "claude-1") == "active" })
}
