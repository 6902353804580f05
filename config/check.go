package config

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// checker completes what may be left out and checks what one value alone does not tell.
type checker struct {
	*reader
	config *Config
	known  Known
}

// bad blames the line that gives the path, or else the line of what the path belongs to.
func (k *checker) bad(line int, path, value, rule, remedy string) {
	if n := k.values[path]; n != nil {
		line, value = n.Line, asWritten(n, value)
	}
	k.problems = append(k.problems, Problem{k.file, line, path, value, rule, remedy})
}

// complete applies the rule that things which share a name need not be spelled out.
func (k *checker) complete() {
	c := k.config
	for _, r := range c.Routes {
		for i, h := range r.Hosts {
			r.Hosts[i] = strings.ToLower(h) // as Envoy compares them
		}
		for _, name := range r.Upstreams {
			if _, ok := c.Upstreams[name]; !ok {
				if !k.reachable(name) {
					k.bad(r.line, "routes."+r.Name+".upstreams", name, "names no upstream", "add it under upstreams")
					continue
				}
				u := defaultUpstream()
				u.line = r.line
				c.Upstreams[name] = u
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u := c.Upstreams[name]
		if u.Pool == "" {
			u.Pool = name
		}
		if _, ok := c.Pools[u.Pool]; !ok {
			p := defaultPool()
			p.line = u.line
			c.Pools[u.Pool] = p
		}
		c.Upstreams[name] = u
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		p := c.Pools[name]
		if p.Provider == "" {
			p.Provider = name
		}
		if _, ok := c.Providers[p.Provider]; !ok {
			v := defaultProvider()
			v.line = p.line
			if !k.known.has(p.Provider) {
				k.bad(p.line, "pools."+name+".provider", p.Provider, "names no provider and no driver", "add it under providers; drivers are "+strings.Join(k.known.Drivers, ", "))
				v.Driver = "-"
			}
			c.Providers[p.Provider] = v
		}
		c.Pools[name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		p := c.Providers[name]
		if p.Driver == "" {
			p.Driver = name
		}
		c.Providers[name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u := c.Upstreams[name]
		if u.URL == "" {
			u.URL = k.known.DefaultURL(c.Providers[c.Pools[u.Pool].Provider].Driver)
		}
		c.Upstreams[name] = u
	}
}

// reachable reports whether an upstream that is only named leads to a provider with a usual URL.
func (k *checker) reachable(name string) bool {
	provider := name
	if p, ok := k.config.Pools[name]; ok && p.Provider != "" {
		provider = p.Provider
	}
	driver := provider
	if p, ok := k.config.Providers[provider]; ok && p.Driver != "" {
		driver = p.Driver
	}
	return k.known.DefaultURL(driver) != ""
}

func (k *checker) check() {
	k.checkListeners()
	k.checkStore()
	k.checkRenewal()
	k.checkProviders()
	k.checkUpstreams()
	k.checkRoutes()
}

func (k *checker) checkListeners() {
	c := k.config
	seen := map[string]string{}
	address := func(path, a string, secured bool, remedy string) {
		_, port, err := net.SplitHostPort(a)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		host, _, _ := net.SplitHostPort(a)
		switch {
		case err != nil:
			k.bad(0, path, a, "must be HOST:PORT", "")
			return
		case strings.HasPrefix(path, "envoy.") && host != "" && host != "localhost" && net.ParseIP(host) == nil:
			k.bad(0, path, a, "must have an IP address or localhost as host", "Envoy resolves no names of listeners")
		case !secured && !loopback(a):
			k.bad(0, path, a, "is not a loopback address", remedy)
		case seen[a] != "" && !strings.HasSuffix(a, ":0"):
			k.bad(0, path, a, "is already used by "+seen[a], "choose another port")
		}
		seen[a] = path
	}
	switch tcp, isTCP := strings.CutPrefix(c.ExtProc.Listen, "tcp://"); {
	case isTCP:
		address("extproc.listen", tcp, c.ExtProc.TLS.CertFile != "", "give extproc.tls, or use unix:PATH")
	case !strings.HasPrefix(c.ExtProc.Listen, "unix:") || len(c.ExtProc.Listen) == len("unix:"):
		k.bad(0, "extproc.listen", c.ExtProc.Listen, "must be unix:PATH or tcp://HOST:PORT", "")
	}
	address("admin.listen", c.Admin.Listen, c.Admin.TLS.CertFile != "", "give admin.tls")
	address("envoy.admin", c.Envoy.Admin, false, "Envoy's admin port has no authentication: keep it on loopback")
	address("envoy.listen", c.Envoy.Listen, c.Clients.Anonymous == "always", "clients cannot be authenticated yet: use a loopback address, or say clients.anonymous: always")
	if c.Admin.TokenFile == "" {
		k.bad(0, "admin.token_file", "", "must not be empty", "remove it for the default")
	}
	if c.Clients.Anonymous == "never" {
		k.bad(0, "clients.anonymous", "never", "leaves nobody who may call", "use loopback until clients can be authenticated")
	}
	all := map[string]TLS{"extproc.tls": c.ExtProc.TLS, "admin.tls": c.Admin.TLS, "envoy.tls": c.Envoy.TLS}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		t := all[path]
		if (t.CertFile == "") != (t.KeyFile == "") || t.ClientCAFile != "" && t.CertFile == "" {
			k.bad(0, path, "", "needs both cert_file and key_file", "")
		}
	}
}

func (k *checker) checkRenewal() {
	r := k.config.Renewal
	if r.TokenEndpointTimeout >= r.ClaimLease {
		k.bad(0, "renewal.claim_lease", r.ClaimLease.String(), "must be longer than renewal.token_endpoint_timeout ("+r.TokenEndpointTimeout.String()+")", "or another process takes a slow refresh for dead")
	}
	if r.BackoffMin > r.BackoffMax {
		k.bad(0, "renewal.backoff", "", "min is larger than max", "")
	}
}
