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
	absent map[string]bool // providers that are not there: reported once, where they are named
	// implied names by path what made an entry that the file does not have.
	implied map[string]string
}

// bad blames the line that gives the path, or else the line of what the path belongs to.
func (k *checker) bad(path, value, rule, remedy string) {
	if n := k.values[path]; n != nil {
		value = asWritten(n, value)
	}
	k.problems = append(k.problems, Problem{k.file, k.line(path), path, value, rule, remedy})
}

// line is where the file has a path, or what is nearest above it; 0: nothing of it.
func (k *checker) line(path string) int {
	for path != "" {
		if n := k.values[path]; n != nil {
			return n.Line
		}
		if by := k.implied[path]; by != "" {
			path = by
			continue
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

func (k *checker) check() {
	k.checkListeners()
	k.checkBounds()
	k.checkStore()
	k.checkRenewal()
	k.checkProviders()
	k.checkUpstreams()
	k.checkRoutes()
	k.checkTenants()
}

func (k *checker) checkListeners() {
	c := k.config
	var seen []listener
	address := func(path, a string, secured bool, remedy string) {
		host, port, err := net.SplitHostPort(a)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		envoys := strings.HasPrefix(path, "envoy.")
		l := listener{path, host, port}
		switch i := slices.IndexFunc(seen, l.overlaps); {
		case err != nil:
			k.bad(path, a, "must be HOST:PORT", "")
			return
		case envoys && host != "" && host != "localhost" && net.ParseIP(host) == nil:
			k.bad(path, a, "must have an IP address or localhost as host", "Envoy resolves no names of listeners")
		case envoys && strings.Trim(port, "0") == "":
			k.bad(path, a, "must name a port: nobody could know which one Envoy gets", "")
		case !secured && !loopback(a):
			k.bad(path, a, "is not a loopback address", remedy)
		case i >= 0:
			k.bad(path, a, "is already used by "+seen[i].path, "choose another port")
		}
		seen = append(seen, l)
	}
	k.checkExtProc(address)
	address("admin.listen", c.Admin.Listen, c.Admin.TLS.CertFile != "", "give admin.tls")
	address("envoy.admin", c.Envoy.Admin, false, "Envoy's admin port has no authentication: keep it on loopback")
	address("envoy.listen", c.Envoy.Listen, c.Clients.Anonymous == "always",
		"clients cannot be authenticated yet: use a loopback address, or say clients.anonymous: always")
	if c.Admin.TokenFile == "" {
		k.bad("admin.token_file", "", "must not be empty", "remove it for the default")
	}
	if c.Clients.Anonymous == "never" {
		k.bad("clients.anonymous", "never", "leaves nobody who may call",
			"use loopback until clients can be authenticated")
	}
	all := map[string]TLS{"extproc.tls": c.ExtProc.TLS, "admin.tls": c.Admin.TLS, "envoy.tls": c.Envoy.TLS}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		t := all[path]
		if (t.CertFile == "") != (t.KeyFile == "") || t.ClientCAFile != "" && t.CertFile == "" {
			k.bad(path, "", "needs both cert_file and key_file", "")
		}
	}
}

// listener is an address that something of ours listens on.
type listener struct{ path, host, port string }

// overlaps reports whether two cannot both listen. A port 0 is any that is free.
func (l listener) overlaps(o listener) bool {
	everywhere := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	same := func(host string) string {
		if host == "localhost" {
			return "127.0.0.1"
		}
		return host
	}
	port := strings.TrimLeft(l.port, "0")
	return port != "" && port == strings.TrimLeft(o.port, "0") &&
		(everywhere(l.host) || everywhere(o.host) || same(l.host) == same(o.host))
}

// checkBounds: a body that is refused while it comes in is in memory twice.
func (k *checker) checkBounds() {
	if e := k.config.Envoy; uint64(e.RetryBodyLimit) > e.MaxHeap/2 {
		k.bad("envoy.retry_body_limit", strconv.FormatUint(uint64(e.RetryBodyLimit), 10),
			"must be at most half of envoy.max_heap", "raise envoy.max_heap to what this machine can give to Envoy")
	}
}

func (k *checker) checkRenewal() {
	r := k.config.Renewal
	if r.TokenEndpointTimeout >= r.ClaimLease {
		k.bad("renewal.claim_lease", r.ClaimLease.String(),
			"must be longer than renewal.token_endpoint_timeout ("+r.TokenEndpointTimeout.String()+")",
			"or another process takes a slow refresh for dead")
	}
	if r.BackoffMin > r.BackoffMax {
		k.bad("renewal.backoff", "", "min is larger than max", "")
	}
}
