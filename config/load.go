package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Load reads, completes and checks the file. The error is of type Problems when the file could be read. env looks up
// environment variables (os.LookupEnv).
func Load(path string, known Known, env func(string) (string, bool)) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w: write one with tokenward init, or name yours with -c", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	k, err := parse(filepath.Base(path), data, known, env)
	if err != nil {
		return nil, err
	}
	k.config.resolvePaths(filepath.Dir(abs))
	k.checkFiles()
	k.checkHost()
	return k.result()
}

// parse reads, completes and checks without any I/O.
func parse(file string, data []byte, known Known, env func(string) (string, bool)) (*checker, error) {
	r := &reader{file: file, env: env, values: map[string]*yaml.Node{}}
	c := defaults()
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, noYAML(file, err)
	default:
		r.object(r.sections(c))(doc.Content[0], "")
		switch err := d.Decode(&second); {
		case err == nil:
			r.report(second.Content[0], "", "", "a second YAML document begins here", "keep one")
		case !errors.Is(err, io.EOF):
			return nil, noYAML(file, err)
		}
	}
	k := &checker{reader: r, config: c, known: known, absent: map[string]bool{}}
	k.complete()
	k.check()
	return k, nil
}

func (k *checker) result() (*Config, error) {
	if len(k.problems) > 0 {
		return nil, k.problems.sorted()
	}
	return k.config, nil
}

func noYAML(file string, err error) Problems {
	return Problems{{File: file, Rule: "is no YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
}

func (r *reader) sections(c *Config) keys {
	clients := keys{
		"anonymous": r.oneOf(&c.Clients.Anonymous, "loopback", "always", "never"),
		"origins":   r.origins(&c.Clients.Origins), "trusted_proxies": r.proxies(&c.Clients.TrustedProxies),
		"keys": r.later("remove it until client keys land", "false"), "mtls_ca_file": r.later("remove it", ""), "trusted_header": r.later("remove it", ""),
	}
	return keys{
		"extproc": r.extproc(&c.ExtProc),
		"admin": r.object(keys{
			"listen": r.text(&c.Admin.Listen), "token_file": r.text(&c.Admin.TokenFile), "tls": r.tls(&c.Admin.TLS),
			"metrics_auth": r.boolean(&c.Admin.MetricsAuth), "metrics": r.object(keys{"account_label": r.boolean(&c.Admin.AccountLabel)}),
		}),
		"store": r.store(&c.Store),
		"renewal": r.object(keys{
			"sweep": r.duration(&c.Renewal.Sweep, time.Second), "lead": r.lead(&c.Renewal.Lead), "workers": r.integer(&c.Renewal.Workers, 1, 1024),
			"token_endpoint_timeout": r.duration(&c.Renewal.TokenEndpointTimeout, 100*time.Millisecond), "claim_lease": r.duration(&c.Renewal.ClaimLease, time.Second),
			"backoff": r.object(keys{"min": r.duration(&c.Renewal.BackoffMin, 10*time.Millisecond), "max": r.duration(&c.Renewal.BackoffMax, 10*time.Millisecond)}),
		}),
		"providers": r.entries(func(name string, n *yaml.Node, path string) { c.Providers[name] = r.provider(n, path) }),
		"pools":     r.entries(func(name string, n *yaml.Node, path string) { c.Pools[name] = r.pool(n, path) }),
		"upstreams": r.entries(func(name string, n *yaml.Node, path string) { c.Upstreams[name] = r.upstream(n, path) }),
		"routes":    r.entries(func(name string, n *yaml.Node, path string) { c.Routes = append(c.Routes, r.route(name, n, path)) }),
		"clients":   r.object(clients),
		"envoy": r.object(keys{
			"listen": r.text(&c.Envoy.Listen), "admin": r.text(&c.Envoy.Admin), "retry_body_limit": r.size(&c.Envoy.RetryBodyLimit),
			"max_heap": r.heap(&c.Envoy.MaxHeap), "max_connections": r.integer(&c.Envoy.MaxConnections, 16, 1_000_000),
			"upload_timeout": r.duration(&c.Envoy.UploadTimeout, time.Second),
			"service_wait":   r.duration(&c.Envoy.ServiceWait, 500*time.Millisecond), "retry_after": r.duration(&c.Envoy.RetryAfter, time.Second),
			"tls": r.object(keys{"cert_file": r.text(&c.Envoy.TLS.CertFile), "key_file": r.text(&c.Envoy.TLS.KeyFile)}),
		}),
		"host": r.object(keys{"trusted_folders": r.texts(&c.Host.TrustedFolders)}),
		"log":  r.object(keys{"level": r.oneOf(&c.Log.Level, "debug", "info", "warn", "error"), "format": r.oneOf(&c.Log.Format, "json", "console")}),
	}
}

func (r *reader) tls(t *TLS) read {
	return r.object(keys{"cert_file": r.text(&t.CertFile), "key_file": r.text(&t.KeyFile), "client_ca_file": r.text(&t.ClientCAFile)})
}

// lead is a duration or auto.
func (r *reader) lead(dst *time.Duration) read {
	return func(n *yaml.Node, path string) {
		switch v, ok := r.scalar(n, path, "auto or a duration like 5m"); {
		case !ok:
		case v == "auto":
			*dst = 0
		default:
			r.duration(dst, time.Second)(n, path)
		}
	}
}

func (r *reader) provider(n *yaml.Node, path string) Provider {
	p := defaultProvider()
	p.line = n.Line
	r.object(keys{
		"driver": r.text(&p.Driver), "token_url": r.text(&p.TokenURL), "auth_style": r.oneOf(&p.AuthStyle, "params", "header", "none"),
		"body": r.oneOf(&p.Body, "form", "json"), "replay": r.oneOf(&p.Replay, "strict", "grace", "no_rotation"), "grace": r.duration(&p.Grace, 0),
		"headers": r.textMap(&p.Headers), "proxy": r.text(&p.Proxy), "ca_file": r.text(&p.CAFile),
	})(n, path)
	return p
}

func (r *reader) pool(n *yaml.Node, path string) Pool {
	p := defaultPool()
	p.line = n.Line
	r.object(keys{
		"provider": r.text(&p.Provider), "select": r.selection(&p.Select), "sticky_header": r.later("use select: least_loaded", ""),
		"min_healthy": r.integer(&p.MinHealthy, 0, 1_000_000),
	})(n, path)
	return p
}

func (r *reader) selection(dst *string) read {
	return func(n *yaml.Node, path string) {
		switch v, ok := r.scalar(n, path, "least_loaded or round_robin"); {
		case !ok:
		case v == "priority" || v == "sticky":
			r.report(n, path, v, "not built yet", "use least_loaded or round_robin")
		default:
			r.oneOf(dst, "least_loaded", "round_robin")(n, path)
		}
	}
}

func (r *reader) upstream(n *yaml.Node, path string) Upstream {
	u := defaultUpstream()
	u.line = n.Line
	r.object(keys{
		"url": r.text(&u.URL), "pool": r.text(&u.Pool), "ca_file": r.text(&u.CAFile), "protocol": r.oneOf(&u.Protocol, "auto", "http1", "http2"),
		"envoy_cluster": r.text(&u.EnvoyCluster), "plaintext": r.boolean(&u.Plaintext),
	})(n, path)
	return u
}

func (r *reader) route(name string, n *yaml.Node, path string) Route {
	t := defaultRoute()
	t.Name, t.line = name, n.Line
	r.object(keys{
		"match":     r.object(keys{"prefix": r.text(&t.Prefix), "hosts": r.texts(&t.Hosts)}),
		"upstreams": r.texts(&t.Upstreams), "attempts": r.integer(&t.Attempts, 1, 10),
		"on_rate_limit": r.oneOf(&t.OnRateLimit, "pass", "failover"), "on_overload": r.oneOf(&t.OnOverload, "pass", "failover"),
		"on_auth_failure": r.oneOf(&t.OnAuthFailure, "refuse", "pass"), "recovery_timeout": r.duration(&t.RecoveryTimeout, time.Second),
		"refresh_wait": r.duration(&t.RefreshWait, 100*time.Millisecond), "tenant": r.text(&t.Tenant), "tenant_header": r.text(&t.TenantHeader),
		"observe": r.later("use observe: all", "all"), "reveal_attempts": r.boolean(&t.RevealAttempts),
		"reveal_headers": r.texts(&t.RevealHeaders), "methods": r.texts(&t.Methods), "websocket": r.boolean(&t.WebSocket),
		"escaped_slashes": r.oneOf(&t.EscapedSlashes, "refuse", "keep"),
	})(n, path)
	return t
}

// resolvePaths makes relative paths relative to the file's folder.
func (c *Config) resolvePaths(folder string) {
	fix := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	for _, p := range append(c.Store.paths(), &c.Admin.TokenFile) {
		fix(p)
	}
	for _, p := range []*string{&c.ExtProc.EnvoyCertFile, &c.ExtProc.EnvoyKeyFile, &c.ExtProc.ServerCAFile} {
		fix(p)
	}
	for _, t := range []*TLS{&c.ExtProc.TLS, &c.Admin.TLS, &c.Envoy.TLS} {
		fix(&t.CertFile)
		fix(&t.KeyFile)
		fix(&t.ClientCAFile)
	}
	if p, ok := strings.CutPrefix(c.ExtProc.Listen, "unix:"); ok {
		fix(&p)
		c.ExtProc.Listen = "unix:" + p
	}
	for i := range c.Host.TrustedFolders {
		fix(&c.Host.TrustedFolders[i])
	}
	for name, p := range c.Providers {
		fix(&p.CAFile)
		c.Providers[name] = p
	}
	for name, u := range c.Upstreams {
		fix(&u.CAFile)
		c.Upstreams[name] = u
	}
}

func (k Known) has(driver string) bool { return slices.Contains(k.Drivers, driver) }
