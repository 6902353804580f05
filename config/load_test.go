package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const smallest = "routes: { messages: { match: { prefix: /v1/ }, upstreams: [anthropic] } }\n"

var testKnown = Known{
	Drivers:  []string{"anthropic", "api_key", "oauth2"},
	Clusters: []string{"tokenward", "tokenward_attempt"},
	Hidden:   []string{"set-cookie", "alt-svc", "openai-organization"},
	DefaultURL: func(driver string) string {
		if driver == "anthropic" {
			return "https://api.anthropic.com"
		}
		return ""
	},
	Owns: func(driver string) []string {
		if driver == "anthropic" {
			return []string{"anthropic-beta"}
		}
		return nil
	},
	Needs: func(p Provider) (key, rule string) {
		if p.Driver == "oauth2" && p.TokenURL == "" {
			return "token_url", "must be given for the oauth2 driver"
		}
		return "", ""
	},
}

// sameMeaning: an empty list is none.
var sameMeaning = cmpopts.EquateEmpty()

func noEnvironment(string) (string, bool) { return "", false }

func environment(name, value string) func(string) (string, bool) {
	return func(asked string) (string, bool) { return value, asked == name }
}

// load writes the text to a file of its own folder and loads it.
func load(t *testing.T, text string, env func(string) (string, bool)) (*Config, error) {
	t.Helper()
	folder := shortFolder(t)
	writeFiles(t, folder)
	file := filepath.Join(folder, "tokenward.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file, testKnown, env)
}

func mustLoad(t *testing.T, text string) *Config {
	t.Helper()
	c, err := load(t, text, noEnvironment)
	if err != nil {
		t.Fatalf("Load refused\n%s\n%v", text, err)
	}
	return c
}

var usualMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// The expected values are those of the documented configuration, written out here so that a changed default is noticed.
func TestTheSmallestFileHasTheDocumentedDefaults(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "tokenward.yaml")
	if err := os.WriteFile(file, []byte(smallest), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file, testKnown, noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		ExtProc: ExtProc{Listen: "unix:" + filepath.Join(folder, "run/extproc.sock")},
		Admin:   Admin{Listen: "127.0.0.1:8980", TokenFile: filepath.Join(folder, "data/admin.token"), AccountLabel: true},
		Store: Store{SQLite: SQLite{Path: filepath.Join(folder, "data/tokenward.db"), KeyFile: filepath.Join(folder,
			"data/tokenward.key")}, JournalDir: filepath.Join(folder, "data/journal")},
		Renewal: Renewal{
			Sweep: 30 * time.Minute, Workers: 16, TokenEndpointTimeout: 10 * time.Second, ClaimLease: 45 * time.Second,
			BackoffMin: 2 * time.Second, BackoffMax: 5 * time.Minute,
		},
		Providers: map[string]Provider{"anthropic": {
			Driver: "anthropic", AuthStyle: "params", Body: "form",
			Replay: "strict",
		}},
		Pools:     map[string]Pool{"anthropic": {Provider: "anthropic", Select: "least_loaded", MinHealthy: 1}},
		Upstreams: map[string]Upstream{"anthropic": {URL: "https://api.anthropic.com", Pool: "anthropic", Protocol: "auto"}},
		Routes: []Route{{
			Name: "messages", Prefix: "/v1/", Hosts: []string{"*"}, Upstreams: []string{"anthropic"}, Attempts: 4,
			OnRateLimit: "pass", OnOverload: "pass", OnAuthFailure: "refuse", RecoveryTimeout: 30 * time.Second,
			RefreshWait: 15 * time.Second,
			Methods:     usualMethods, EscapedSlashes: "refuse",
		}},
		Clients: Clients{Anonymous: "loopback"},
		Envoy: Envoy{
			Listen: "127.0.0.1:10000", Admin: "127.0.0.1:9901", RetryBodyLimit: 32 << 20,
			MaxHeap: 1 << 30, MaxConnections: 8192, UploadTimeout: 5 * time.Minute,
			ServiceWait: 2500 * time.Millisecond, RetryAfter: 2 * time.Second,
		},
		Log: Log{Level: "info", Format: "json"},
	}
	if diff := cmp.Diff(want, got, sameMeaning); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// whole gives every key a value that is not its default.
const whole = `
extproc:
  listen: "tcp://192.0.2.1:9002"
  connect: "tw.example:9002"
  tls:
    { cert_file: e.crt, key_file: e.key, client_ca_file: e.ca, client_san: [envoy.example, "spiffe://x.example/envoy"],
      envoy_cert_file: c.crt, envoy_key_file: c.key, server_ca_file: s.ca, server_san: tokenward.example }
admin:
  listen: 192.0.2.1:8981
  token_file: a.token
  tls: { cert_file: a.crt, key_file: a.key, client_ca_file: a.ca }
  metrics_auth: true
  metrics: { account_label: false }
store: { sqlite: { path: s.db, key_file: s.key }, journal_dir: "" }
renewal: { sweep: 1h, lead: 5m, workers: 3, token_endpoint_timeout: 4s, claim_lease: 9s, backoff: { min: 1s, max: 2s } }
providers:
  my-idp:
    driver: oauth2
    token_url: https://idp.example/oauth/token
    auth_style: header
    body: json
    replay: grace
    grace: 7s
    headers: { x-one: "1" }
    proxy: http://proxy.example:3128
    ca_file: p.ca
pools:
  mine: { provider: my-idp, select: round_robin, sticky_header: "", min_healthy: 2 }
upstreams:
  mine-eu:
    { url: "http://llm.example:8080/", pool: mine, ca_file: u.ca, protocol: http2, envoy_cluster: mesh, plaintext: true }
routes:
  zebra: { match: { prefix: /z, hosts: [a.example, b.example] }, upstreams: [mine-eu],
    tenant_header: x-tenant, observe: all }
  apple:
    match: { prefix: /z }
    upstreams: [anthropic, mine-eu]
    attempts: 10
    on_rate_limit: failover
    on_overload: failover
    on_auth_failure: pass
    recovery_timeout: 20s
    refresh_wait: 20s
    tenant: blue
    reveal_attempts: true
    reveal_headers: [OpenAI-Organization]
    methods: [GET, PROPFIND]
    escaped_slashes: keep
    websocket: true
clients:
  { anonymous: always, origins: ["https://App.example:443", "*"], trusted_proxies: [10.0.0.7, 2001:db8::7/64],
    keys: false, mtls_ca_file: "", trusted_header: "" }
envoy:
  { listen: "0.0.0.0:443", admin: "localhost:9902", retry_body_limit: 1.5MiB, service_wait: 700ms, retry_after: 1m,
    tls: { cert_file: v.crt, key_file: v.key },
    max_heap: 6GiB, max_connections: 20000, upload_timeout: 90s }
log: { level: debug, format: console }
`

func TestEveryKeyReachesItsField(t *testing.T) {
	folder := t.TempDir()
	writeFiles(t, folder)
	file := filepath.Join(folder, "tokenward.yaml")
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file, testKnown, noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(folder, name) }
	want := &Config{
		ExtProc: ExtProc{
			Listen: "tcp://192.0.2.1:9002", Connect: "tw.example:9002",
			TLS: TLS{in("e.crt"), in("e.key"), in("e.ca")}, ClientSANs: []string{"envoy.example", "spiffe://x.example/envoy"},
			EnvoyCertFile: in("c.crt"), EnvoyKeyFile: in("c.key"), ServerCAFile: in("s.ca"), ServerSAN: "tokenward.example",
		},
		Admin: Admin{
			Listen: "192.0.2.1:8981", TokenFile: in("a.token"), TLS: TLS{in("a.crt"), in("a.key"), in("a.ca")},
			MetricsAuth: true,
		},
		Store: Store{SQLite: SQLite{Path: in("s.db"), KeyFile: in("s.key")}},
		Renewal: Renewal{
			Sweep: time.Hour, Lead: 5 * time.Minute, Workers: 3, TokenEndpointTimeout: 4 * time.Second,
			ClaimLease: 9 * time.Second,
			BackoffMin: time.Second, BackoffMax: 2 * time.Second,
		},
		Providers: map[string]Provider{
			"anthropic": {Driver: "anthropic", AuthStyle: "params", Body: "form", Replay: "strict"},
			"my-idp": {
				Driver: "oauth2", TokenURL: "https://idp.example/oauth/token", AuthStyle: "header", Body: "json", Replay: "grace",
				Grace: 7 * time.Second, Headers: map[string]string{"x-one": "1"}, Proxy: "http://proxy.example:3128",
				CAFile: in("p.ca"),
			},
		},
		Pools: map[string]Pool{
			"anthropic": {Provider: "anthropic", Select: "least_loaded", MinHealthy: 1},
			"mine":      {Provider: "my-idp", Select: "round_robin", MinHealthy: 2},
		},
		Upstreams: map[string]Upstream{
			"anthropic": {URL: "https://api.anthropic.com", Pool: "anthropic", Protocol: "auto"},
			"mine-eu": {
				URL: "http://llm.example:8080/", Pool: "mine", CAFile: in("u.ca"), Protocol: "http2",
				EnvoyCluster: "mesh", Plaintext: true,
			},
		},
		Routes: []Route{
			{
				Name: "zebra", Prefix: "/z", Hosts: []string{"a.example", "b.example"}, Upstreams: []string{"mine-eu"}, Attempts: 4,
				OnRateLimit: "pass", OnOverload: "pass", OnAuthFailure: "refuse", RecoveryTimeout: 30 * time.Second,
				RefreshWait:  15 * time.Second,
				TenantHeader: "x-tenant", Methods: usualMethods, EscapedSlashes: "refuse",
			},
			{
				Name: "apple", Prefix: "/z", Hosts: []string{"*"}, Upstreams: []string{"anthropic", "mine-eu"}, Attempts: 10,
				OnRateLimit: "failover", OnOverload: "failover", OnAuthFailure: "pass", RecoveryTimeout: 20 * time.Second,
				RefreshWait: 20 * time.Second,
				Tenant:      "blue", RevealAttempts: true, RevealHeaders: []string{"OpenAI-Organization"},
				Methods: []string{"GET", "PROPFIND"}, EscapedSlashes: "keep", WebSocket: true,
			},
		},
		Clients: Clients{
			Anonymous: "always", Origins: []string{"https://app.example", "*"}, TrustedProxies: []string{
				"10.0.0.7/32",
				"2001:db8::/64",
			},
		},
		Envoy: Envoy{
			Listen: "0.0.0.0:443", Admin: "localhost:9902", RetryBodyLimit: 3 << 19,
			MaxHeap: 6 << 30, MaxConnections: 20_000, UploadTimeout: 90 * time.Second,
			ServiceWait: 700 * time.Millisecond, RetryAfter: time.Minute, TLS: TLS{CertFile: in("v.crt"), KeyFile: in("v.key")},
		},
		Log: Log{Level: "debug", Format: "console"},
	}
	if diff := cmp.Diff(want, got, sameMeaning); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestThingsThatShareANameNeedNotBeSpelledOut(t *testing.T) {
	const oauth = "providers: { oauth2: { token_url: https://idp.example/token } }\n"
	for name, c := range map[string]struct{ text, pool, provider, driver, url string }{
		"an upstream without an entry": {
			"routes: { r: { upstreams: [anthropic] } }", "anthropic", "anthropic",
			"anthropic", "https://api.anthropic.com",
		},
		"an upstream without pool":           {"upstreams: { anthropic: { url: https://eu.example } }\nroutes: { r: { upstreams: [anthropic] } }", "anthropic", "anthropic", "anthropic", "https://eu.example"},
		"an upstream of which only the pool": {"pools: { claude: { provider: anthropic } }\nroutes: { r: { upstreams: [claude] } }", "claude", "anthropic", "anthropic", "https://api.anthropic.com"},
		"a pool without an entry": {
			"upstreams: { u: { pool: anthropic } }\nroutes: { r: { upstreams: [u] } }",
			"anthropic", "anthropic", "anthropic", "https://api.anthropic.com",
		},
		"a provider whose name says nothing": {"providers: { work: { driver: anthropic } }\nroutes: { r: { upstreams: [work] } }", "work", "work", "anthropic", "https://api.anthropic.com"},
		"a provider without driver":          {oauth + "upstreams: { u: { url: https://llm.example, pool: oauth2 } }\nroutes: { r: { upstreams: [u] } }", "oauth2", "oauth2", "oauth2", "https://llm.example"},
		"an entry without a value": {
			"upstreams: { anthropic: }\nroutes: { r: { upstreams: [anthropic] } }",
			"anthropic", "anthropic", "anthropic", "https://api.anthropic.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustLoad(t, c.text)
			u := got.Upstreams[got.Routes[0].Upstreams[0]]
			p := got.Pools[u.Pool]
			if u.Pool != c.pool || p.Provider != c.provider || got.Providers[p.Provider].Driver != c.driver || u.URL != c.url {
				t.Errorf("upstream %+v, pool %+v, providers %+v", u, p, got.Providers)
			}
		})
	}
}

func TestTheEnvoyClusterIsNamedLikeItsUpstreamUnlessGiven(t *testing.T) {
	if got := (Upstream{}).Cluster("claude"); got != "claude" {
		t.Errorf("got %q, want claude", got)
	}
	if got := (Upstream{EnvoyCluster: "mesh"}).Cluster("claude"); got != "mesh" {
		t.Errorf("got %q, want mesh", got)
	}
}

func TestVariablesAreReplacedInEveryKindOfValue(t *testing.T) {
	values := map[string]string{
		"LEVEL": "debug", "BOOL": "true", "COUNT": "7", "SWEEP": "3m", "LEAD": "auto", "SIZE": "2KiB",
		"SELECT": "round_robin", "HOST": "idp", "PATH_": "token",
	}
	c, err := load(t, `
log: { level: "${LEVEL}" }
admin: { metrics_auth: "${BOOL}" }
renewal: { workers: "${COUNT}", sweep: "${SWEEP}", lead: "${LEAD}" }
envoy: { retry_body_limit: "${SIZE}" }
providers: { oauth2: { token_url: "https://${HOST}.example/${PATH_}", headers: { x-a: "${HOST}" } } }
pools: { anthropic: { select: "${SELECT}" } }
routes: { r: { match: { hosts: ["${HOST}"] }, upstreams: [anthropic] } }
`, func(name string) (string, bool) { v, ok := values[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		c.Log.Level, c.Admin.MetricsAuth, c.Renewal.Workers, c.Renewal.Sweep, c.Renewal.Lead, c.Envoy.RetryBodyLimit,
		c.Pools["anthropic"].Select,
		c.Providers["oauth2"].TokenURL, c.Providers["oauth2"].Headers["x-a"], c.Routes[0].Hosts[0],
	}
	want := []any{
		"debug", true, 7, 3 * time.Minute, time.Duration(0), uint32(2048), "round_robin",
		"https://idp.example/token", "idp", "idp",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestADefaultStandsInForAVariableThatIsNotSetOrEmpty(t *testing.T) {
	const text = smallest + `pools: { anthropic: { select: "${SELECT:-round_robin}" } }` + "\n"
	for name, c := range map[string]struct {
		env  func(string) (string, bool)
		want string
	}{
		"not set": {noEnvironment, "round_robin"},
		"empty":   {environment("SELECT", ""), "round_robin"},
		"set":     {environment("SELECT", "least_loaded"), "least_loaded"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, text, c.env)
			if err != nil {
				t.Fatal(err)
			}
			if got.Pools["anthropic"].Select != c.want {
				t.Errorf("select is %q, want %q", got.Pools["anthropic"].Select, c.want)
			}
		})
	}
	if c := mustLoad(t, smallest+`admin: { token_file: "x${NOTHING:-}y" }`); filepath.Base(c.Admin.TokenFile) != "xy" {
		t.Errorf("an empty default gave %q, want xy", c.Admin.TokenFile)
	}
}

func TestAVariableOfTheEnvironmentIsNotExpandedTwice(t *testing.T) {
	c, err := load(t, smallest+`admin: { token_file: "${V}" }`, environment("V", "${V}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := filepath.Base(c.Admin.TokenFile); got != "${V}" {
		t.Errorf("got %q, want the value as the environment has it", got)
	}
}

func TestAbsolutePathsStayAndEmptyPathsStayEmpty(t *testing.T) {
	c := mustLoad(t, smallest+`
extproc: { listen: "unix:/run/x.sock" }
admin: { token_file: /etc/tokenward/admin.token }
store: { sqlite: { path: ../elsewhere/t.db } }
`)
	if c.ExtProc.Listen != "unix:/run/x.sock" || c.Admin.TokenFile != "/etc/tokenward/admin.token" {
		t.Errorf("absolute paths changed: %q, %q", c.ExtProc.Listen, c.Admin.TokenFile)
	}
	if !filepath.IsAbs(c.Store.SQLite.Path) || filepath.Base(filepath.Dir(c.Store.SQLite.Path)) != "elsewhere" {
		t.Errorf("store path is %q, want it beside the file's folder", c.Store.SQLite.Path)
	}
	if c.Envoy.TLS != (TLS{}) || c.Upstreams["anthropic"].CAFile != "" {
		t.Errorf("paths that were not given became %+v, %q", c.Envoy.TLS, c.Upstreams["anthropic"].CAFile)
	}
}

func TestPathsAreRelativeToTheFileNotToTheWorkingFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "tokenward.yaml"), []byte(smallest), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(folder))
	c, err := Load(filepath.Join(filepath.Base(folder), "tokenward.yaml"), testKnown, noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(folder, "data/tokenward.db"); c.Store.SQLite.Path != want {
		t.Errorf("got %q, want %q", c.Store.SQLite.Path, want)
	}
}

func TestAnchorsAndAliasesAreFollowed(t *testing.T) {
	c := mustLoad(t, `
pools: { a: &pool { provider: &auto anthropic, select: &sticky round_robin }, b: *pool,
         c: { provider: *auto, select: *sticky } }
renewal: { lead: 5m }
routes: { r: { upstreams: [a, b, c] } }
`)
	for name, p := range c.Pools {
		if p.Provider != "anthropic" || p.Select != "round_robin" {
			t.Errorf("pool %s is %+v", name, p)
		}
	}
}

func TestSeveralListenersMayAskForAnyFreePort(t *testing.T) {
	mustLoad(t, smallest+`
extproc: { listen: "tcp://127.0.0.1:0", insecure_loopback: true }
admin: { listen: "127.0.0.1:0" }
`)
}

func TestPlainHTTPIsForLoopbackTokenEndpointsOnly(t *testing.T) {
	for _, host := range []string{"127.0.0.1:9", "localhost", "[::1]:9"} {
		mustLoad(t, smallest+`providers: { idp: { driver: oauth2, token_url: "http://`+host+`/token" } }`)
	}
}

func TestHostsAreComparedAsEnvoyDoesInLowerCase(t *testing.T) {
	c := mustLoad(t, "routes: { a: { match: { prefix: /a, hosts: [LLM.example] }, upstreams: [anthropic] }, b: { match: { prefix: /b, hosts: [llm.Example] }, upstreams: [anthropic] } }")
	if c.Routes[0].Hosts[0] != "llm.example" || c.Routes[1].Hosts[0] != "llm.example" {
		t.Errorf("hosts are %v and %v: two virtual hosts of one name", c.Routes[0].Hosts, c.Routes[1].Hosts)
	}
}
