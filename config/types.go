package config

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

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
	Host      Host
}

// TLS names certificate files; all empty: no TLS.
type TLS struct{ CertFile, KeyFile, ClientCAFile string }

// ExtProc is where Envoy finds the service, and how each knows the other.
type ExtProc struct {
	Listen           string // unix:PATH or tcp://HOST:PORT
	Connect          string // HOST:PORT where Envoy reaches it over TCP; "": as in Listen
	InsecureLoopback bool   // a loopback address gives tokens to every local user
	SocketGID        *int   // members of this group may connect to the Unix socket; nil: our own user alone
	TLS              TLS
	// What is more in its tls: names of which Envoy's certificate carries one, and files as Envoy sees them.
	ClientSANs                                []string
	EnvoyCertFile, EnvoyKeyFile, ServerCAFile string // ServerCAFile "": TLS.ClientCAFile
	ServerSAN                                 string // in the service's certificate; "": the host that Envoy connects to
}

// Admin is the operator's edge.
type Admin struct {
	Listen       string // HOST:PORT
	TokenFile    string
	TLS          TLS
	MetricsAuth  bool // unless given: when Listen is no loopback address
	AccountLabel bool // metrics.account_label
}

// Exposed reports whether others than this machine reach the operator's edge.
func (a Admin) Exposed() bool { return !loopback(a.Listen) }

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
}

// Pool is a pool entry.
type Pool struct {
	Provider, Select string
	MinHealthy       int
}

// Upstream is an upstream entry.
type Upstream struct {
	URL, Pool, CAFile, Protocol, EnvoyCluster string
	Plaintext                                 bool // tokens may go there over http
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
	RevealHeaders                          []string // of a provider's answers, which clients do not see otherwise
	Methods                                []string
	EscapedSlashes                         string // in paths: refuse or keep
	WebSocket                              bool
}

// Clients says who may call the gateway.
type Clients struct {
	Anonymous      string
	Origins        []string // of web pages that may call; one * at the end stands for anything
	TrustedProxies []string // ADDRESS/BITS of those who may name a tenant
}

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

// Host is the machine that the service runs on.
type Host struct {
	TrustedFolders []string // that others may write, and that are used all the same
}

// Store says where records live: in Vault when Vault is set, else in SQLite.
type Store struct {
	SQLite     SQLite
	Vault      *access.Config
	JournalDir string // "": no journal
}

// SQLite is the embedded store.
type SQLite struct{ Path, KeyFile string }

// Log is the service's own log.
type Log struct{ Level, Format string }

// Known is what the configuration may refer to: the drivers that exist, and what each of them knows.
type Known struct {
	Drivers    []string
	DefaultURL func(driver string) string          // the usual URL of its provider, "": none
	Owns       func(driver string) []string        // headers, in lower case, that it sets itself
	Needs      func(p Provider) (key, rule string) // a key of the entry that is wrong for its driver, "": none
	Clusters   []string                            // Envoy clusters that are not upstreams
	Hidden     []string                            // headers of answers that clients see only if a route reveals them
}
