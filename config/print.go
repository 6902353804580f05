package config

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print renders the effective configuration as a file that loads to the same, but for what may be secret: header values and
// the user of a proxy's URL are hidden.
func Print(c *Config) ([]byte, error) {
	d := func(v time.Duration) string { return v.String() }
	tls := func(t TLS) map[string]any {
		return map[string]any{"cert_file": t.CertFile, "key_file": t.KeyFile, "client_ca_file": t.ClientCAFile}
	}
	lead := "auto"
	if c.Renewal.Lead > 0 {
		lead = d(c.Renewal.Lead)
	}
	providers, pools, upstreams := map[string]any{}, map[string]any{}, map[string]any{}
	for n, p := range c.Providers {
		hidden := map[string]string{}
		for k := range p.Headers {
			hidden[k] = "[hidden]"
		}
		providers[n] = map[string]any{
			"driver": p.Driver, "token_url": p.TokenURL, "auth_style": p.AuthStyle, "body": p.Body, "replay": p.Replay,
			"grace": d(p.Grace), "headers": hidden, "proxy": withoutSecrets(p.Proxy), "ca_file": p.CAFile,
		}
	}
	for n, p := range c.Pools {
		pools[n] = map[string]any{"provider": p.Provider, "select": p.Select, "min_healthy": p.MinHealthy}
	}
	for n, u := range c.Upstreams {
		upstreams[n] = map[string]any{"url": u.URL, "pool": u.Pool, "ca_file": u.CAFile, "protocol": u.Protocol, "envoy_cluster": u.EnvoyCluster, "plaintext": u.Plaintext}
	}
	routes := &yaml.Node{Kind: yaml.MappingNode}
	for _, r := range c.Routes {
		var body yaml.Node
		if err := body.Encode(map[string]any{
			"match": map[string]any{"prefix": r.Prefix, "hosts": r.Hosts}, "upstreams": r.Upstreams, "attempts": r.Attempts,
			"on_rate_limit": r.OnRateLimit, "on_overload": r.OnOverload, "on_auth_failure": r.OnAuthFailure, "recovery_timeout": d(r.RecoveryTimeout),
			"refresh_wait": d(r.RefreshWait), "tenant": r.Tenant, "tenant_header": r.TenantHeader, "reveal_attempts": r.RevealAttempts,
			"reveal_headers": r.RevealHeaders, "methods": r.Methods, "websocket": r.WebSocket, "escaped_slashes": r.EscapedSlashes,
		}); err != nil {
			return nil, fmt.Errorf("printing route %s: %w", r.Name, err)
		}
		routes.Content = append(routes.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: r.Name}, &body)
	}
	envoyTLS := map[string]any{"cert_file": c.Envoy.TLS.CertFile, "key_file": c.Envoy.TLS.KeyFile}
	all := map[string]any{
		"extproc": c.ExtProc.printed(),
		"admin": map[string]any{
			"listen": c.Admin.Listen, "token_file": c.Admin.TokenFile, "tls": tls(c.Admin.TLS), "metrics_auth": c.Admin.MetricsAuth,
			"metrics": map[string]any{"account_label": c.Admin.AccountLabel},
		},
		"store": c.Store.printed(),
		"renewal": map[string]any{
			"sweep": d(c.Renewal.Sweep), "lead": lead, "workers": c.Renewal.Workers, "token_endpoint_timeout": d(c.Renewal.TokenEndpointTimeout),
			"claim_lease": d(c.Renewal.ClaimLease), "backoff": map[string]any{"min": d(c.Renewal.BackoffMin), "max": d(c.Renewal.BackoffMax)},
		},
		"providers": providers, "pools": pools, "upstreams": upstreams, "routes": routes,
		"clients": map[string]any{
			"anonymous": c.Clients.Anonymous, "origins": c.Clients.Origins, "trusted_proxies": c.Clients.TrustedProxies,
		},
		"envoy": map[string]any{
			"listen": c.Envoy.Listen, "admin": c.Envoy.Admin, "retry_body_limit": c.Envoy.RetryBodyLimit,
			"max_heap": c.Envoy.MaxHeap, "max_connections": c.Envoy.MaxConnections, "upload_timeout": d(c.Envoy.UploadTimeout),
			"service_wait": d(c.Envoy.ServiceWait),
			"retry_after":  d(c.Envoy.RetryAfter), "tls": envoyTLS,
		},
		"host": map[string]any{"trusted_folders": c.Host.TrustedFolders},
		"log":  map[string]any{"level": c.Log.Level, "format": c.Log.Format},
	}
	var buf bytes.Buffer
	e := yaml.NewEncoder(&buf)
	e.SetIndent(2)
	if err := e.Encode(all); err != nil {
		return nil, fmt.Errorf("printing the configuration: %w", err)
	}
	return buf.Bytes(), e.Close()
}

// withoutSecrets hides where a URL may carry a secret: the user in front of @ and the query.
func withoutSecrets(address string) string {
	address, _, query := strings.Cut(address, "?")
	if at := strings.LastIndex(address, "@"); at >= 0 {
		scheme := ""
		if before, _, found := strings.Cut(address[:at], "://"); found {
			scheme = before + "://"
		}
		address = scheme + "[hidden]" + address[at:]
	}
	if query {
		address += "?[hidden]"
	}
	return address
}
