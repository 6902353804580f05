package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// origins are read into the form that browsers send.
func origins(dst *[]string) value {
	v := list(dst, "origins", func(o string) (value, rule, remedy string) {
		rule, remedy = originRule(o)
		return withoutUsualPort(strings.ToLower(o)), rule, remedy
	})
	read := v.read
	v.read = func(r *reader, n *yaml.Node, path string) {
		for _, e := range resolve(n).Content {
			if e.Value == "null" {
				e.Tag = "!!str" // an origin of that name, whether it stands in quotes or not
			}
		}
		read(r, n, path)
	}
	return v
}

// proxies are read into ADDRESS/BITS.
func proxies(dst *[]string) value {
	return list(dst, "addresses", func(p string) (value, rule, remedy string) {
		switch prefix, ok := parsePrefix(p); {
		case !ok:
			return p, "must be an address or ADDRESS/BITS", "e.g. 10.0.0.7 or 10.0.0.0/24"
		case prefix.Bits() == 0:
			return p, "is everybody, and every client would name its tenant", "name the proxy's own address"
		default:
			return prefix.String(), "", ""
		}
	})
}

// checkTenants refuses what lets a client choose its tenant.
func (k *checker) checkTenants() {
	for _, r := range k.config.Routes {
		rule, _ := headerRule(r.TenantHeader)
		reported := rule != "" || r.Tenant != ""
		if r.TenantHeader != "" && !reported && len(k.config.Clients.TrustedProxies) == 0 {
			k.bad("routes."+r.Name+".tenant_header", r.TenantHeader, "would let every client choose its tenant",
				"name the proxy that sets it under clients.trusted_proxies, or give the route a fixed tenant")
		}
	}
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

var (
	webOrigin = regexp.MustCompile(`^(?i)https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:([0-9]{1,5}|\*))?$`)
	appOrigin = regexp.MustCompile(`^(?i)[a-z][a-z0-9+.-]*://([a-z0-9_.-]*|\*)(:[0-9]{1,5})?$`)
)

// originRule says which rule an origin breaks. What browsers send is a scheme, a host and a port that is not the usual
// one (RFC 6454 section 7), or null.
func originRule(o string) (rule, remedy string) {
	scheme, rest, found := strings.Cut(strings.ToLower(o), "://")
	web := scheme == "http" || scheme == "https"
	switch {
	case o == "*" || o == "null" || web && webOrigin.MatchString(o) || found && !web && appOrigin.MatchString(o):
		return "", ""
	case found && strings.ContainsAny(rest, "/?#"):
		return "must be an origin alone, without a path", "write SCHEME://HOST[:PORT]"
	}
	return "must be an origin as browsers send it",
		"e.g. https://app.example, http://localhost:*, app://NAME, vscode-webview://*, null, or * for all pages"
}

// withoutUsualPort is how browsers write an origin.
func withoutUsualPort(o string) string {
	for scheme, port := range map[string]string{"http://": ":80", "https://": ":443"} {
		if strings.HasPrefix(o, scheme) {
			return strings.TrimSuffix(o, port)
		}
	}
	return o
}

// Notes are what a valid configuration may not be meant to say.
func Notes(c *Config) (notes []string) {
	var tenants, patterns []string
	for _, r := range c.Routes {
		if r.Tenant != "" {
			tenants = append(tenants, "routes."+r.Name+".tenant")
		}
		for _, h := range r.Hosts {
			if strings.Contains(h, "*") && h != "*" && !strings.HasPrefix(h, "*.") {
				patterns = append(patterns, h)
			}
		}
	}
	if len(tenants) > 0 {
		notes = append(notes, strings.Join(tenants, ", ")+": tenants are labels for accounting, no isolation: "+
			"whoever may call chooses the route, and so the tenant, by Host and path")
	}
	if len(patterns) > 0 && c.Clients.Anonymous == "loopback" {
		notes = append(notes, "match.hosts "+strings.Join(patterns, ", ")+
			": strangers can own names that fit, so a loopback gateway is not called by them: "+
			"name the hosts, or use *.DOMAIN")
	}
	for _, p := range c.Clients.TrustedProxies {
		if prefix, err := netip.ParsePrefix(p); err == nil && prefix.Addr().IsLoopback() {
			notes = append(notes, "clients.trusted_proxies "+p+": every program on this host may name its tenant")
		}
	}
	if c.ExtProc.InsecureLoopback {
		notes = append(notes, "extproc.insecure_loopback: every user of this machine gets tokens at "+c.ExtProc.Listen)
	}
	if slices.Contains(c.Clients.Origins, "*") {
		notes = append(notes, "clients.origins *: every web page that somebody opens here may spend the accounts, "+
			"and read the answers")
	}
	if slices.Contains(c.Clients.Origins, "null") {
		notes = append(notes, "clients.origins null: every web page can call with this origin, from a sandboxed frame")
	}
	return notes
}
