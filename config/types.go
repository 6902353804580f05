package config

import "time"

// Config is the effective configuration: defaults filled in, names resolved, paths absolute.
type Config struct {
	ExtProc   ExtProc
	Admin     Admin
	Store     Store
	Renewal   Renewal
	Providers map[string]Provider
	Pools     map[string]Pool
	Upstreams map[string]Upstream
	Routes    []Route // in file order
	Clients   Clients
	Envoy     Envoy
	Log       Log
}

// TLS names certificate files; all empty: no TLS.
type TLS struct{ CertFile, KeyFile, ClientCAFile string }

// ExtProc is where Envoy finds the service.
type ExtProc struct {
	Listen string // unix:PATH or tcp://HOST:PORT
	TLS    TLS
}

// Admin is the operator's edge.
type Admin struct {
	Listen       string // HOST:PORT
	TokenFile    string
	TLS          TLS
	MetricsAuth  bool
	AccountLabel bool // metrics.account_label
}

// Renewal is when tokens are renewed. Lead 0 means auto.
type Renewal struct {
	Sweep, Lead                      time.Duration
	Workers                          int
	TokenEndpointTimeout, ClaimLease time.Duration
	BackoffMin, BackoffMax           time.Duration
}

// Provider is a provider entry.
type Provider struct {
	Driver, TokenURL, AuthStyle, Body, Replay string
	Grace                                     time.Duration
	Headers                                   map[string]string
	Proxy, CAFile                             string
	line                                      int
}

// Pool is a pool entry.
type Pool struct {
	Provider, Select string
	MinHealthy       int
	line             int
}

// Upstream is an upstream entry.
type Upstream struct {
	URL, Pool, CAFile, Protocol, EnvoyCluster string
	line                                      int
}

// Cluster is the name of the upstream's Envoy cluster.
func (u Upstream) Cluster(name string) string {
	if u.EnvoyCluster != "" {
		return u.EnvoyCluster
	}
	return name
}

// Route is a route entry.
type Route struct {
	Name                                   string
	Prefix                                 string
	Hosts                                  []string
	Upstreams                              []string
	Attempts                               int
	OnRateLimit, OnOverload, OnAuthFailure string
	RecoveryTimeout, RefreshWait           time.Duration
	Tenant, TenantHeader                   string
	RevealAttempts                         bool
	line                                   int
}

// Clients says who may call the gateway.
type Clients struct{ Anonymous string }

// Envoy is for the generated bootstrap.
type Envoy struct {
	Listen, Admin  string
	RetryBodyLimit uint32        // bytes
	MaxHeap        uint64        // bytes
	MaxConnections int           // of clients
	UploadTimeout  time.Duration // for a whole request to come in
	ServiceWait    time.Duration // how long requests wait for this service while it restarts
	RetryAfter     time.Duration // what clients are told when it did not come back in time
	TLS            TLS
}

// Log is the service's own log.
type Log struct{ Level, Format string }

// Known is what the configuration may refer to: the drivers that exist and the usual URL of their provider.
type Known struct {
	Drivers    []string
	DefaultURL func(driver string) string
	Clusters   []string // Envoy clusters that are not upstreams
}

func defaults() *Config {
	return &Config{
		ExtProc:   ExtProc{Listen: "unix:./run/extproc.sock"},
		Admin:     Admin{Listen: "127.0.0.1:8980", TokenFile: "./data/admin.token", AccountLabel: true},
		Store:     Store{SQLite: SQLite{Path: "./data/tokenward.db", KeyFile: "./data/tokenward.key"}, JournalDir: "./data/journal"},
		Renewal:   Renewal{Sweep: 30 * time.Minute, Workers: 16, TokenEndpointTimeout: 10 * time.Second, ClaimLease: 45 * time.Second, BackoffMin: 2 * time.Second, BackoffMax: 5 * time.Minute},
		Providers: map[string]Provider{}, Pools: map[string]Pool{}, Upstreams: map[string]Upstream{},
		Clients: Clients{Anonymous: "loopback"},
		Envoy: Envoy{
			Listen: "127.0.0.1:10000", Admin: "127.0.0.1:9901", RetryBodyLimit: 32 << 20,
			MaxHeap: 1 << 30, MaxConnections: 8192, UploadTimeout: 5 * time.Minute,
			ServiceWait: 2500 * time.Millisecond, RetryAfter: 2 * time.Second,
		},
		Log: Log{Level: "info", Format: "json"},
	}
}

func defaultProvider() Provider { return Provider{AuthStyle: "params", Body: "form", Replay: "strict"} }
func defaultPool() Pool         { return Pool{Select: "least_loaded", MinHealthy: 1} }
func defaultUpstream() Upstream { return Upstream{Protocol: "auto"} }
func defaultRoute() Route {
	return Route{
		Prefix: "/", Hosts: []string{"*"}, Attempts: 4, OnRateLimit: "pass", OnOverload: "pass", OnAuthFailure: "refuse",
		RecoveryTimeout: 30 * time.Second, RefreshWait: 15 * time.Second,
	}
}
