package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/admin"
	"github.com/tokenward/tokenward/cli"
	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/envoy"
	"github.com/tokenward/tokenward/extproc"
	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/provider"
)

const defaultFile = "tokenward.yaml"

// This file turns the configuration file into the configurations of the packages.

func loadConfig(file string) (*config.Config, error) {
	if file == "" {
		file = defaultFile
	}
	c, err := config.Load(file, known(), os.LookupEnv)
	if err != nil {
		return nil, cli.Usagef("%w", err)
	}
	return c, nil
}

// known is what a configuration may refer to.
func known() config.Known {
	return config.Known{
		Drivers: provider.Names(), DefaultURL: provider.DefaultURL, Owns: provider.Owns, Needs: needs,
		Clusters: envoy.OwnClusters(), Hidden: hidden(),
	}
}

func needs(p config.Provider) (key, rule string) {
	if wrong := provider.Needs(settings(p, nil)); wrong != nil {
		return wrong.Key, wrong.Rule
	}
	return "", ""
}

func settings(p config.Provider, files *tlsfile.Files) provider.Settings {
	return provider.Settings{
		Driver: p.Driver, TokenURL: p.TokenURL, AuthStyle: p.AuthStyle, Body: p.Body, Replay: p.Replay,
		Grace: p.Grace, Headers: p.Headers, Proxy: p.Proxy, CAFile: p.CAFile, Files: files,
	}
}

func drivers(c *config.Config, files *tlsfile.Files) (map[string]tokenstore.Driver, error) {
	out := make(map[string]tokenstore.Driver, len(c.Providers))
	for name, p := range c.Providers {
		d, err := provider.New(name, settings(p, files))
		if err != nil {
			return nil, err
		}
		out[name] = d
	}
	return out, nil
}

// domainConfig is the domain's; files reads what it names again, nil: once.
func domainConfig(c *config.Config, files *tlsfile.Files) (tokenstore.Config, error) {
	ds, err := drivers(c, files)
	if err != nil {
		return tokenstore.Config{}, err
	}
	t := tokenstore.Config{
		Drivers:   ds,
		Routes:    map[string]tokenstore.RouteConfig{},
		Upstreams: map[string]tokenstore.UpstreamConfig{},
		Pools:     map[string]tokenstore.PoolConfig{},
		Renewal: tokenstore.RenewalConfig{
			Sweep:                c.Renewal.Sweep,
			Lead:                 c.Renewal.Lead,
			Workers:              c.Renewal.Workers,
			TokenEndpointTimeout: c.Renewal.TokenEndpointTimeout,
			ClaimLease:           c.Renewal.ClaimLease,
			BackoffMin:           c.Renewal.BackoffMin,
			BackoffMax:           c.Renewal.BackoffMax,
		},
	}
	for name, p := range c.Pools {
		how := tokenstore.LeastLoaded
		if p.Select == "round_robin" {
			how = tokenstore.RoundRobin
		}
		t.Pools[name] = tokenstore.PoolConfig{Provider: p.Provider, Select: how, MinHealthy: p.MinHealthy}
	}
	for name, u := range c.Upstreams {
		t.Upstreams[name] = tokenstore.UpstreamConfig{Pool: u.Pool, Cluster: u.Cluster(name)}
	}
	for _, r := range c.Routes {
		t.Routes[r.Name] = tokenstore.RouteConfig{
			Upstreams:         r.Upstreams,
			Attempts:          r.Attempts,
			FailOverRateLimit: r.OnRateLimit == "failover",
			FailOverOverload:  r.OnOverload == "failover",
			PassAuthFailure:   r.OnAuthFailure == "pass",
			RecoveryTimeout:   r.RecoveryTimeout,
			RefreshWait:       r.RefreshWait,
		}
	}
	return t, nil
}

func extprocConfig(c *config.Config) extproc.Config {
	out := extproc.Config{
		Listen:              c.ExtProc.Listen,
		CertFile:            c.ExtProc.TLS.CertFile,
		KeyFile:             c.ExtProc.TLS.KeyFile,
		ClientCAFile:        c.ExtProc.TLS.ClientCAFile,
		ClientSANs:          c.ExtProc.ClientSANs,
		InsecureLoopback:    c.ExtProc.InsecureLoopback,
		SocketGID:           c.ExtProc.SocketGID,
		RevealAttempts:      map[string]bool{},
		Upstreams:           map[string][]string{},
		CredentialQueryKeys: provider.CredentialQueryKeys(),
		CredentialProtocols: provider.CredentialProtocols(),
	}
	for _, r := range c.Routes {
		out.TrailAge = max(out.TrailAge, r.RecoveryTimeout+5*time.Second)
		out.RevealAttempts[r.Name], out.Upstreams[r.Name] = r.RevealAttempts, r.Upstreams
	}
	return out
}

func adminConfig(c *config.Config) admin.Config {
	return admin.Config{
		Listen: c.Admin.Listen, TokenFile: c.Admin.TokenFile, CertFile: c.Admin.TLS.CertFile, KeyFile: c.Admin.TLS.KeyFile,
		ClientCAFile: c.Admin.TLS.ClientCAFile, MetricsAuth: c.Admin.MetricsAuth, Exposed: c.Admin.Exposed(),
	}
}

// hidden are the headers of answers that clients do not see.
func hidden() []string { return envoy.Hidden(provider.OrganisationHeaders()) }

// envoyConfig is what the generated Envoy configuration depends on.
func envoyConfig(c *config.Config) envoy.Config {
	e := envoy.Config{
		Listen: c.Envoy.Listen, Admin: c.Envoy.Admin, CertFile: c.Envoy.TLS.CertFile, KeyFile: c.Envoy.TLS.KeyFile,
		RetryBodyLimit: c.Envoy.RetryBodyLimit, MaxHeap: c.Envoy.MaxHeap, UploadTimeout: c.Envoy.UploadTimeout,
		MaxConnections: uint32(c.Envoy.MaxConnections), //nolint:gosec // a million at most
		ExtProc:        c.ExtProc.Listen, ExtProcTLS: c.ExtProc.TLS.CertFile != "",
		ForwardHeaders: provider.ShownHeaders(), RemovedHeaders: provider.RemovedHeaders(), HiddenHeaders: hidden(),
		ServiceWait: c.Envoy.ServiceWait, RetryAfter: c.Envoy.RetryAfter,
	}
	if x := c.ExtProc; x.Connect != "" {
		e.ExtProc = "tcp://" + x.Connect
	}
	if x := c.ExtProc; e.ExtProcTLS {
		e.ExtProcCAFile = cmp.Or(x.ServerCAFile, x.TLS.ClientCAFile)
		e.ExtProcCertFile, e.ExtProcKeyFile, e.ExtProcSAN = x.EnvoyCertFile, x.EnvoyKeyFile, x.ServerSAN
	}
	for _, r := range c.Routes {
		e.LongestHold = max(e.LongestHold, r.RefreshWait)
		e.Routes = append(e.Routes, envoy.Route{
			Name:               r.Name,
			Prefix:             r.Prefix,
			Hosts:              r.Hosts,
			Attempts:           r.Attempts,
			Tenant:             r.Tenant,
			TenantHeader:       r.TenantHeader,
			Methods:            r.Methods,
			WebSocket:          r.WebSocket,
			KeepEscapedSlashes: r.EscapedSlashes == "keep",
			RevealHeaders:      r.RevealHeaders,
		})
		for _, name := range r.Upstreams {
			u := c.Upstreams[name]
			e.Upstreams = appendOnce(e.Upstreams,
				envoy.Upstream{Name: u.Cluster(name), URL: u.URL, CAFile: u.CAFile, Protocol: u.Protocol})
		}
	}
	e.LoopbackOnly = c.Clients.Anonymous == "loopback"
	e.Origins, e.TrustedProxies = c.Clients.Origins, c.Clients.TrustedProxies
	return e
}

// bootstrap renders the Envoy configuration. adminSocket is where Envoy's whole admin interface goes; "": nowhere.
func bootstrap(c *config.Config, adminSocket string) ([]byte, error) {
	e := envoyConfig(c)
	e.AdminSocket = adminSocket
	b, err := envoy.Build(e)
	if err != nil {
		return nil, fmt.Errorf("generating Envoy's configuration: %w", err)
	}
	return envoy.YAML(b)
}

func appendOnce(us []envoy.Upstream, u envoy.Upstream) []envoy.Upstream {
	for _, have := range us {
		if have.Name == u.Name {
			return us
		}
	}
	return append(us, u)
}

// runFolder is where the generated Envoy configuration goes: beside the socket.
func runFolder(c *config.Config) string {
	if path, ok := strings.CutPrefix(c.ExtProc.Listen, "unix:"); ok {
		return filepath.Dir(path)
	}
	return filepath.Dir(c.Admin.TokenFile)
}

// adminSocket is where an Envoy of ours has its admin interface. The name is no longer than those that config leaves
// room for.
func adminSocket(c *config.Config) string { return filepath.Join(runFolder(c), "adm.sock") }

// openSession prepares what a command of the command line works on; the store is opened only for those that need it.
func openSession(ctx context.Context, file string, withStore bool) (*cli.Session, error) {
	c, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	t, err := domainConfig(c, nil)
	if err != nil {
		return nil, err
	}
	var b tokenstore.Backend
	if withStore {
		if err := outOfReach(c, storePlaces(c.Store)); err != nil {
			return nil, err
		}
		operator, log := operatorsToken(c.Store, os.LookupEnv), zap.NewNop() // what is wrong comes back as an error
		if b, err = openBackend(ctx, c.Store, nil, operator, log); err != nil {
			return nil, err
		}
	}
	scheme := "http://"
	if c.Admin.TLS.CertFile != "" {
		scheme = "https://"
	}
	return &cli.Session{
		Backend:        b,
		StoreKind:      backendName(c.Store),
		StoreAt:        storeAt(c.Store),
		Drivers:        t.Drivers,
		Pools:          t.Pools,
		AdminURL:       scheme + callable(c.Admin.Listen),
		AdminTokenFile: c.Admin.TokenFile,
		AdminCAFile:    c.Admin.TLS.CertFile,
		Domain: func() (*tokenstore.Store, error) {
			if err := outOfReach(c, journalPlaces(c.Store)); err != nil {
				return nil, err
			}
			if t.Journal, err = openJournal(c.Store); err != nil {
				return nil, err
			}
			return tokenstore.New(t, b, tokenstore.NewMetrics(prometheus.NewRegistry(), backendName(c.Store), false),
				zap.NewNop())
		},
	}, nil
}

// callable is where a listening address of this machine answers: one for all interfaces is none to call.
func callable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return listen
}
