package config

import (
	"regexp"
	"strings"
	"time"
	"unicode"
)

func (k *checker) checkRoutes() {
	if len(k.config.Routes) == 0 {
		k.bad("routes", "", "must have at least one route",
			"e.g. routes: { messages: { match: { prefix: /v1/ }, upstreams: [anthropic] } }")
	}
	taken := map[string]string{}
	for _, r := range k.config.Routes {
		path := "routes." + r.Name
		if !strings.HasPrefix(r.Prefix, "/") {
			k.bad(path+".match.prefix", r.Prefix, "must begin with /", "")
		}
		if strings.ContainsFunc(r.Prefix, func(c rune) bool { return c <= ' ' || c == '?' || c == '#' || c >= 0x7f }) {
			k.bad(path+".match.prefix", r.Prefix, "must be a path without blanks, ?, # and non-ASCII characters",
				"a query plays no part in matching; other characters are matched as clients send them, %-encoded")
		}
		if len(r.Upstreams) == 0 {
			k.bad(path+".upstreams", "", "must name at least one upstream", "")
		}
		if len(r.Hosts) == 0 {
			k.bad(path+".match.hosts", "", "must name at least one host", `use ["*"] for all`)
		}
		for _, h := range r.Hosts {
			if rule, remedy := hostRule(h); rule != "" {
				k.bad(path+".match.hosts", h, rule, remedy)
				continue
			}
			h = strings.ToLower(h)
			if taken[h+r.Prefix] == r.Name {
				k.bad(path+".match.hosts", h, "is given twice", "keep one")
				continue
			}
			if other := taken[h+r.Prefix]; other != "" {
				k.bad(path+".match", h+r.Prefix, "is already matched by route "+other, "")
			}
			taken[h+r.Prefix] = r.Name
		}
		k.checkPrefix(r, path)
		k.checkMethods(r, path)
		k.checkRevealed(r, path)
		if r.RefreshWait > r.RecoveryTimeout {
			k.bad(path+".refresh_wait", r.RefreshWait.String(),
				"must not exceed recovery_timeout ("+r.RecoveryTimeout.String()+")", "")
		}
		if r.RecoveryTimeout > 5*time.Minute {
			k.bad(path+".recovery_timeout", r.RecoveryTimeout.String(), "must be at most 5m", "no client waits longer")
		}
		if r.Tenant != "" && r.TenantHeader != "" {
			k.bad(path+".tenant", r.Tenant, "excludes tenant_header", "keep one")
		}
		if strings.ContainsFunc(r.Tenant, unicode.IsControl) {
			k.bad(path+".tenant", r.Tenant, "must not hold control characters", "")
		}
		if r.TenantHeader != "" {
			if rule, remedy := headerRule(r.TenantHeader); rule != "" {
				k.bad(path+".tenant_header", r.TenantHeader, rule, remedy)
			}
		}
	}
}

// hostPattern is a host that Envoy can match: a name, a name that begins or ends with *, * alone, or an IPv6 address.
var hostPattern = regexp.MustCompile(`^(\*|\*?[A-Za-z0-9_.-]*[A-Za-z0-9_-]|[A-Za-z0-9_][A-Za-z0-9_.-]*\*|` +
	`\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// hostRule says which rule a host of a route breaks.
func hostRule(h string) (rule, remedy string) {
	switch name, every := strings.CutSuffix(h, ":*"); {
	case h == "":
		return "must not be empty", "use * for all hosts"
	case strings.Contains(h, "://") || strings.Contains(h, "/"):
		return "must be a host alone, without scheme and path", "paths belong into match.prefix"
	case every:
		return "must not name every port", name + " alone matches with and without a port"
	case !hostPattern.MatchString(h) || strings.Contains(strings.TrimPrefix(h, "*"), "*:"):
		return "must be a host name or address",
			"a * may stand at its beginning or at its end, but not both, and with a port only at its beginning"
	}
	return "", ""
}
