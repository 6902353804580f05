package config

import "time"

// This file has the tables of what a request passes: providers, pools, upstreams and routes.

func (p *Provider) keys() section {
	return section{
		key("driver", text(&p.Driver), "", "The code that speaks to the provider.").
			or("its own name").must("a driver that exists"),
		key("token_url", text(&p.TokenURL).as("URL"), "", "The token endpoint.").or("the driver's").
			must("https, or http to a loopback host, without user; must be given for `oauth2`"),
		key("auth_style", oneOf(&p.AuthStyle, "params", "header", "none"), "params",
			"How the client id and its secret are sent: among the parameters, by HTTP Basic, or the id alone."),
		key("body", oneOf(&p.Body, "form", "json"), "form", "How a request to the token endpoint is encoded."),
		key("replay", oneOf(&p.Replay, "strict", "grace", "no_rotation"), "strict",
			"What a second use of a refresh token means to the provider: revocation, nothing for a while, or nothing at all."),
		key("grace", duration(&p.Grace, 0), "0s",
			"With `replay: grace`, how long a used refresh token is accepted again; `0s` is no limit."),
		key("headers", secretTexts(&p.Headers), "", "Headers of every attempt; `check --print` hides their values.").
			must("none that carries credentials, belongs to the connection, or that the gateway or the driver sets itself"),
		key("proxy", proxy(&p.Proxy), "", "The way to the token endpoint; `check --print` hides its user.").
			or("what `HTTPS_PROXY` and `NO_PROXY` say").must("http, https or socks5 with HOST[:PORT]"),
		key("ca_file", file(&p.CAFile), "", "PEM file of trust anchors for the token endpoint.").or("the system's"),
	}
}

func (p *Pool) keys() section {
	return section{
		key("provider", text(&p.Provider), "", "Whose accounts they are.").
			or("the one of its own name").must("a provider or a driver"),
		key("select", selection(&p.Select), "least_loaded",
			"Which account serves: the one with the fewest attempts, or each in turn."),
		key("sticky_header", later("use select: least_loaded", ""), "", "What keeps a client on one account."),
		key("min_healthy", integer(&p.MinHealthy, 0, 1_000_000, "number of accounts"), "1",
			"How many should be able to serve; nothing looks at it yet."),
	}
}

func (u *Upstream) keys() section {
	return section{
		key("url", text(&u.URL).as("URL"), "", "Where requests go; their path is kept.").or("the driver's").
			must("https, or http to a loopback host or with `plaintext`; HOST[:PORT] alone; no link-local or metadata address"),
		key("pool", text(&u.Pool), "", "Whose tokens it takes.").
			or("the one of its own name").must("a pool, a provider or a driver"),
		key("ca_file", file(&u.CAFile), "", "PEM file of trust anchors for its certificate.").or("the system's"),
		key("protocol", oneOf(&u.Protocol, "auto", "http1", "http2"), "auto", "What Envoy speaks to it."),
		key("envoy_cluster", text(&u.EnvoyCluster), "", "The name of its Envoy cluster.").or("its own name").
			must("printable, without blanks; no cluster of the gateway's own; not that of another URL"),
		key("plaintext", boolean(&u.Plaintext), "false", "Tokens may go there over http, where others can read them."),
	}
}

func (r *Route) keys() section {
	return section{
		key("match", object(section{
			key("prefix", text(&r.Prefix).as("URL path"), "/", "How the path of a request begins.").
				must("begins with `/`; without blanks, `?`, `#`, `//`, `/./`, `/../` and `\\`"),
			key("hosts", texts(&r.Hosts, "hosts"), `["*"]`, "The hosts that are called.").
				must("at least one name or address, with or without a port; a `*` at the beginning or at the end"),
		}), "", "Which requests it is for.").must("no two routes with the same host and prefix"),
		key("upstreams", texts(&r.Upstreams, "names"), "", "Upstreams in order of preference.").must("at least one"),
		key("attempts", integer(&r.Attempts, 1, 10, "number of attempts"), "4", "Attempts of one request in all."),
		key("on_rate_limit", oneOf(&r.OnRateLimit, "pass", "failover"), "pass",
			"A 429 goes to the client, or the next account is tried."),
		key("on_overload", oneOf(&r.OnOverload, "pass", "failover"), "pass",
			"A 503 or 529 goes to the client, or the next account is tried."),
		key("on_auth_failure", oneOf(&r.OnAuthFailure, "refuse", "pass"), "refuse",
			"The last refusal of a token becomes a 503 `credentials_refused`, or goes to the client as it came."),
		key("recovery_timeout", duration(&r.RecoveryTimeout, time.Second), "30s",
			"How long after the first refusal another attempt may begin.").must("at most 5m"),
		key("refresh_wait", duration(&r.RefreshWait, 100*time.Millisecond), "15s",
			"How long an answer is held for one refresh.").must("at most `recovery_timeout`"),
		key("tenant", text(&r.Tenant), "", "The tenant of all requests, whose accounts serve.").
			must("without control characters; excludes `tenant_header`"),
		key("tenant_header", text(&r.TenantHeader).as("header"), "", "The request header that names the tenant.").
			must("only with `clients.trusted_proxies`; none of the gateway's own, of the connection, or with credentials"),
		key("observe", later("use observe: all", "all"), "", "Which answers the service sees."),
		key("reveal_attempts", boolean(&r.RevealAttempts), "false",
			"Answers carry `tokenward-attempts`, the number of attempts."),
		key("reveal_headers", texts(&r.RevealHeaders, "headers"), "",
			"Headers of a provider's answers that clients see although they are hidden.").must("headers that are hidden"),
		key("methods", texts(&r.Methods, "methods"), "[GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS]",
			"Methods that are let in; others get a 405.").must("at least one; in upper case; not TRACE, TRACK and CONNECT"),
		key("websocket", boolean(&r.WebSocket), "false", "Upgrades to WebSocket are carried.").
			must("with GET among `methods`"),
		key("escaped_slashes", oneOf(&r.EscapedSlashes, "refuse", "keep"), "refuse",
			"A path with `%2F` gets a 400, or is let in as it is."),
	}
}
