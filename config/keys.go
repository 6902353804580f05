package config

import (
	"math"
	"slices"
	"time"
)

// This file has the tables of all sections but providers to routes, and store.

func (c *Config) whole() value {
	return object(section{
		key("extproc", object(c.ExtProc.keys()), "", "Where Envoy asks this service, and how each knows the other."),
		key("admin", object(c.Admin.keys()), "", "The admin API, the page, metrics and health."),
		key("store", object(c.Store.keys()), "", "Where records live: in an SQLite file or in HashiCorp Vault."),
		key("renewal", object(c.Renewal.keys()), "", "When and how tokens are renewed."),
		key("providers", mapOf(c.Providers, (*Provider).keys), "", "The services whose accounts are kept, by name.").
			or("one named like a driver need not be written"),
		key("pools", mapOf(c.Pools, (*Pool).keys), "", "Sets of interchangeable accounts, by name.").
			or("one named like a provider or a driver need not be written"),
		key("upstreams", mapOf(c.Upstreams, (*Upstream).keys), "", "Where requests go, by name.").
			or("one named like a pool, a provider or a driver need not be written, if the driver knows the URL"),
		key("routes", entries((*Route).keys, c.allRoutes, c.putRoute), "",
			"What clients call, by name; in the order of the file.").must("at least one"),
		key("clients", object(c.Clients.keys()), "", "Who may call the gateway."),
		key("envoy", object(c.Envoy.keys()), "", "The generated configuration of Envoy."),
		key("host", object(c.Host.keys()), "", "The machine that the service runs on."),
		key("log", object(c.Log.keys()), "", "The service's own log."),
	})
}

func (c *Config) allRoutes(yield func(string, Route) bool) {
	for _, r := range c.Routes {
		if !yield(r.Name, r) {
			return
		}
	}
}

func (c *Config) putRoute(name string, r Route) {
	r.Name = name
	if i := slices.IndexFunc(c.Routes, func(have Route) bool { return have.Name == name }); i >= 0 {
		c.Routes[i] = r
		return
	}
	c.Routes = append(c.Routes, r)
}

func (e *ExtProc) keys() section {
	return section{
		key("listen", endpoint(&e.Listen), "unix:./run/extproc.sock", "Where Envoy opens its streams.").
			must("over TCP with `tls`, or on a loopback address with `insecure_loopback`"),
		key("connect", text(&e.Connect).as("HOST:PORT"), "", "Where Envoy reaches it over TCP.").or("as in `listen`"),
		key("insecure_loopback", boolean(&e.InsecureLoopback), "false",
			"A loopback address may do without certificates; then every user of the machine gets tokens there."),
		key("socket_gid", integerOrNone(&e.SocketGID, 0, math.MaxInt32, "group id"), "",
			"Members of this group may connect to the Unix socket.").or("the service's own user alone").
			must("only with `unix:`"),
		key("tls", object(append(e.TLS.keys(),
			key("client_san", texts(&e.ClientSANs, "names"), "", "Names of which Envoy's certificate must carry one.").
				must("DNS names, IP addresses or URIs, without wildcards; with `client_ca_file` at least one"),
			key("envoy_cert_file", file(&e.EnvoyCertFile), "",
				"The certificate chain that Envoy shows, as Envoy sees the file.").must("with `client_ca_file`"),
			key("envoy_key_file", file(&e.EnvoyKeyFile), "", "Its private key.").must("with `client_ca_file`"),
			key("server_ca_file", file(&e.ServerCAFile), "", "What Envoy trusts.").or("`client_ca_file`"),
			key("server_san", text(&e.ServerSAN), "", "The name in `cert_file` that Envoy wants to see.").
				or("the host that Envoy connects to"),
		)), "", "Certificates of both sides, over TCP.").must("only with `tcp://`"),
	}
}

func (a *Admin) keys() section {
	return section{
		key("listen", text(&a.Listen).as("HOST:PORT"), "127.0.0.1:8980", "Where API, page, metrics and health answer.").
			must("a loopback address, or `tls` is given"),
		key("token_file", file(&a.TokenFile), "./data/admin.token", "The operators' token; made (0600) when it is missing.").
			must("not empty"),
		key("tls", object(a.TLS.keys()), "", "Certificate of the admin address."),
		key("metrics_auth", boolean(&a.MetricsAuth), "", "`/metrics` wants the token too.").
			or("true where `listen` is no loopback address"),
		key("metrics", object(section{
			key("account_label", boolean(&a.AccountLabel), "true", "It has counters of each account, labelled with its id."),
		}), "", "What `/metrics` tells."),
	}
}

// keys are those of a server whose clients may have to show a certificate.
func (t *TLS) keys() section {
	return append(t.pair(), key("client_ca_file", file(&t.ClientCAFile), "",
		"PEM file of who signs the certificates of clients; they must show one then.").must("with `cert_file`"))
}

func (t *TLS) pair() section {
	return section{
		key("cert_file", file(&t.CertFile), "", "PEM file of the certificate chain.").must("with `key_file`"),
		key("key_file", file(&t.KeyFile), "", "PEM file of its private key.").must("with `cert_file`"),
	}
}

func (r *Renewal) keys() section {
	return section{
		key("sweep", duration(&r.Sweep, time.Second), "30m", "How often every account is checked, whatever is planned."),
		key("lead", durationOrAuto(&r.Lead, time.Second), "auto",
			"How long before its end a token is renewed; `auto`: a third of its life, 1m to 1h, at most half of its life."),
		key("workers", integer(&r.Workers, 1, 1024, "number of renewals"), "16", "Renewals at once."),
		key("token_endpoint_timeout", duration(&r.TokenEndpointTimeout, 100*time.Millisecond), "10s",
			"How long one call of a token endpoint may take."),
		key("claim_lease", duration(&r.ClaimLease, time.Second), "45s",
			"How long another process's claim on a credential is respected while it does not change.").
			must("longer than `token_endpoint_timeout`"),
		key("backoff", object(section{
			key("min", duration(&r.BackoffMin, 10*time.Millisecond), "2s", "The first pause.").must("at most `max`"),
			key("max", duration(&r.BackoffMax, 10*time.Millisecond), "5m", "The longest pause."),
		}), "", "Pauses between the tries of an account whose refresh fails."),
	}
}

func (c *Clients) keys() section {
	return section{
		key("anonymous", oneOf(&c.Anonymous, "loopback", "always", "never"), "loopback",
			"Who may call without a key: with `loopback` this machine, with `always` whoever reaches `envoy.listen`.").
			must("not `never`, until clients can be authenticated"),
		key("origins", origins(&c.Origins), "", "Web pages that may call, as browsers send their origin.").
			must("SCHEME://HOST[:PORT] with `*` for the port, SCHEME://* for an application's pages, null, or `*` for all"),
		key("trusted_proxies", proxies(&c.TrustedProxies), "", "Who may name a tenant in a route's `tenant_header`.").
			must("not everybody"),
		key("keys", later("remove it until client keys land", "false"), "", "Keys of clients."),
		key("mtls_ca_file", later("remove it", ""), "", "Certificates of clients."),
		key("trusted_header", later("remove it", ""), "", "An identity that a proxy sets."),
	}
}

func (e *Envoy) keys() section {
	return section{
		key("listen", text(&e.Listen).as("HOST:PORT"), "127.0.0.1:10000", "Where clients call.").
			must("an IP address or localhost, and a port; a loopback address, or `clients.anonymous` is `always`"),
		key("admin", text(&e.Admin).as("HOST:PORT"), "127.0.0.1:9901", "Where Envoy's readiness and statistics can be read.").
			must("a loopback address, and a port"),
		key("retry_body_limit", bodySize(&e.RetryBodyLimit), "32MiB",
			"Request bodies up to this size are kept for another attempt; larger ones are sent once.").
			must("at most half of `max_heap`"),
		key("max_heap", heapSize(&e.MaxHeap), "1GiB", "Memory that Envoy may use."),
		key("max_connections", integer(&e.MaxConnections, 16, 1_000_000, "number of connections"), "8192",
			"Connections of clients at once."),
		key("upload_timeout", duration(&e.UploadTimeout, time.Second), "5m", "How long a whole request may take to come in."),
		key("service_wait", duration(&e.ServiceWait, 500*time.Millisecond), "2.5s",
			"How long requests wait for this service while it restarts."),
		key("retry_after", duration(&e.RetryAfter, time.Second), "2s",
			"After what time clients are told to come back, if it did not in time."),
		key("tls", object(e.TLS.pair()), "", "Certificate of the address that clients call."),
	}
}

func (h *Host) keys() section {
	return section{
		key("trusted_folders", folders(&h.TrustedFolders), "",
			"Folders that other users may write, and that are used all the same.").must("folders that are there"),
	}
}

func (l *Log) keys() section {
	return section{
		key("level", oneOf(&l.Level, "debug", "info", "warn", "error"), "info",
			"The least important lines that are written."),
		key("format", oneOf(&l.Format, "json", "console"), "json", "A JSON object a line, or lines for people."),
	}
}
