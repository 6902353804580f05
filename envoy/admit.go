package envoy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	rbacfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Who may ask at all: the outer listener's first filters. A browser on this machine reaches the port whatever page it
// shows, so a loopback address says nothing about who calls. The name that is called and the page that calls do.

// What refuses a request, as its answer's details name it.
const (
	policyHost   = "host"   // a name that a stranger's DNS may lead here
	policyOrigin = "origin" // a web page that is not named
	policyTenant = "tenant" // a tenant named by somebody else than the proxy
	filterCORS   = "envoy.filters.http.cors"
)

// loopbackNames are expressions for the names of this host that no DNS of a stranger's leads here.
var loopbackNames = []string{`(?:.+[.])?localhost`, `127(?:[.][0-9]{1,3}){3}`, `[[]::1[]]`}

// corsHeaders: * covers all but authorization (Fetch standard, CORS-unsafe request-header names).
const corsHeaders = "*, authorization"

// admission are the filters that refuse, and the one that answers the browsers of pages which may call.
func (b *builder) admission() ([]*hcmv3.HttpFilter, error) {
	policies := map[string]*rbacv3.Policy{}
	if b.cfg.LoopbackOnly {
		policies[policyHost] = deny(not(headerIs(":authority", b.hosts())), anybody())
	}
	if !slices.Contains(b.cfg.Origins, "*") {
		policies[policyOrigin] = deny(b.foreign(), anybody())
	}
	if names := b.tenantHeaders(); len(names) > 0 {
		others, err := b.notTrusted()
		if err != nil {
			return nil, err
		}
		policies[policyTenant] = deny(anyRule(names), others)
	}
	var filters []*hcmv3.HttpFilter
	if len(policies) > 0 {
		filters = append(filters, b.filter("envoy.filters.http.rbac", &rbacfilterv3.RBAC{
			Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: policies},
		}))
	}
	if len(b.cfg.Origins) > 0 {
		filters = append(filters, b.filter(filterCORS, &corsv3.Cors{}))
	}
	return filters, nil
}

// cors lets the browsers of pages which may call read the answers, whatever the provider says about that. It answers
// their preflights too, which would carry a token to the provider.
func (b *builder) cors() map[string]*anypb.Any {
	if len(b.cfg.Origins) == 0 {
		return nil
	}
	return map[string]*anypb.Any{filterCORS: b.any(&corsv3.CorsPolicy{
		AllowOriginStringMatch: origins(b.cfg.Origins), AllowMethods: "GET, HEAD, POST, PUT, PATCH, DELETE",
		AllowHeaders: corsHeaders, ExposeHeaders: "*", MaxAge: "600", AllowPrivateNetworkAccess: truth(true),
	})}
}

// hosts are the names that are served: this host's own and those that a route names.
func (b *builder) hosts() []*matcherv3.StringMatcher {
	out := []*matcherv3.StringMatcher{anyCase(exact(b.cfg.Listen))} // HTTP/1.0 without a Host
	for _, n := range loopbackNames {
		out = append(out, regex("(?i)"+n+"(?::[0-9]+)?"))
	}
	for _, h := range b.namedHosts() {
		if end, ok := strings.CutPrefix(h, "*"); ok {
			out = append(out, anyCase(suffix(end)), anyCase(contains(end+":"))) // nothing but a port can stand behind a colon
			continue
		}
		for _, d := range domains(h) {
			if before, every := strings.CutSuffix(d, "*"); every {
				out = append(out, anyCase(prefix(before)))
			} else {
				out = append(out, anyCase(exact(d)))
			}
		}
	}
	return out
}

// namedHosts are those of the routes, but for patterns which fit names in anybody's domain.
func (b *builder) namedHosts() (names []string) {
	for _, r := range b.cfg.Routes {
		for _, h := range r.Hosts {
			if (!strings.Contains(h, "*") || strings.HasPrefix(h, "*.")) && !slices.Contains(names, h) {
				names = append(names, h)
			}
		}
	}
	return names
}

// foreign is a request of a web page that may not call: one with an Origin, or of another site as its browser says.
func (b *builder) foreign() *rbacv3.Permission {
	page := anyRule([]*rbacv3.Permission{
		present("origin"),
		allRules(present("sec-fetch-site"), not(headerIs("sec-fetch-site", []*matcherv3.StringMatcher{
			exact("none"), exact("same-origin"),
		}))),
	})
	may := append(b.ownOrigins(), origins(b.cfg.Origins)...)
	if len(may) == 0 {
		return page
	}
	return allRules(page, not(headerIs("origin", may))) // most requests are no page's
}

// ownOrigins are those of the listener itself: many WebSocket clients, which are no browsers, send them.
func (b *builder) ownOrigins() (out []*matcherv3.StringMatcher) {
	_, port, err := splitAddress(b.cfg.Listen)
	if err != nil {
		return nil // is reported where the listener is made
	}
	ends := []string{fmt.Sprintf(":%d", port)}
	if port == 80 || port == 443 {
		ends = append(ends, "") // browsers leave it out
	}
	for _, end := range ends {
		for _, n := range loopbackNames {
			if b.cfg.LoopbackOnly {
				out = append(out, regex("(?i)https?://"+n+end))
			}
		}
		for _, h := range b.namedHosts() {
			if strings.Contains(h, "*") {
				continue
			}
			if len(domains(h)) == 2 { // it names no port
				h += end
			}
			out = append(out, anyCase(exact("http://"+h)), anyCase(exact("https://"+h)))
		}
	}
	return out
}

// origins match what a browser sends of them: whole, or with anything for the * at the end.
func origins(list []string) (out []*matcherv3.StringMatcher) {
	for _, o := range list {
		switch before, open := strings.CutSuffix(o, "*"); {
		case o == "*":
			out = append(out, regex(".*"))
		case open:
			out = append(out, anyCase(prefix(before)))
		default:
			out = append(out, anyCase(exact(o)))
		}
	}
	return out
}

// tenantHeaders are rules that hold for a request which names its tenant.
func (b *builder) tenantHeaders() (rules []*rbacv3.Permission) {
	var seen []string
	for _, r := range b.cfg.Routes {
		if h := strings.ToLower(r.TenantHeader); h != "" && !slices.Contains(seen, h) {
			seen = append(seen, h)
			rules = append(rules, present(h))
		}
	}
	return rules
}

// notTrusted is everybody but the proxies. The address is the connection's, which no header can change.
func (b *builder) notTrusted() (*rbacv3.Principal, error) {
	set := &rbacv3.Principal_Set{}
	for _, p := range b.cfg.TrustedProxies {
		r, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %q: use ADDRESS/BITS", p)
		}
		bits := u32(uint32(r.Bits())) //nolint:gosec // 0 to 128
		set.Ids = append(set.Ids, &rbacv3.Principal{Identifier: &rbacv3.Principal_DirectRemoteIp{
			DirectRemoteIp: &corev3.CidrRange{AddressPrefix: r.Addr().String(), PrefixLen: bits},
		}})
	}
	if len(set.GetIds()) == 0 {
		return anybody(), nil
	}
	proxies := &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: set}}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: proxies}}, nil
}
