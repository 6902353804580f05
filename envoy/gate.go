package envoy

import (
	"regexp"
	"slices"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
)

// What of the requests for a route is let in. What is not gets an answer of Envoy's own, and no token.

// overrides are headers by which some servers take another method than the request's.
var overrides = []string{"x-http-method-override", "x-http-method", "x-method-override"}

const (
	// escapedSlash is a path that one server splits where another does not.
	escapedSlash = "(?i)[^?]*%(?:2f|5c).*"
	// confusingPath is one that leaves its prefix, or takes another route's, once a server has unescaped it or cut off
	// parameters (RFC 3986 section 3.3): a segment of dots before ; or an escaped slash, two slashes, a backslash. Dots
	// and slashes may have been escaped more than once.
	confusingPath = "(?i)[^?]*(?:%5c.*|(?:/|%(?:25)*2f)(?:%2f.*|(?:[.]|%(?:25)*2e){1,2}" +
		"(?:[/;?].*|%(?:25)*(?:2f|3b|5c).*)?))"
)

// gate are a route's Envoy routes, in their order.
func (b *builder) gate(r Route) (routes []*routev3.Route) {
	if b.keepsEscapedSlashes() && !r.KeepEscapedSlashes {
		routes = append(routes, refuse(r, 400, withHeader(":path", regex(escapedSlash))))
	}
	forward := outerRoute(r)
	forward.Match.Headers = allowed(r.Methods)
	forward.ResponseHeadersToRemove = slices.DeleteFunc(slices.Clone(b.cfg.HiddenHeaders), func(hidden string) bool {
		return slices.ContainsFunc(r.RevealHeaders, func(shown string) bool { return strings.EqualFold(shown, hidden) })
	})
	if r.WebSocket {
		routes = append(routes, handshake(forward))
	}
	other := refuse(r, 405)
	other.ResponseHeadersToAdd = allow(r.Methods)
	if large := b.largeBodies(forward); large != nil {
		routes = append(routes, large)
	}
	routes = append(routes, forward)
	if len(b.cfg.Origins) > 0 && !slices.Contains(r.Methods, "OPTIONS") {
		routes = append(routes, b.preflight(r))
	}
	return append(routes, other)
}

// handshake is the route of a WebSocket's beginning, beside the route of all: by GET and without a body (RFC 6455
// section 4.1). Envoy would make a GET of another method, and hold a body back until the provider, which waits for it,
// answers.
func handshake(r *routev3.Route) *routev3.Route {
	open, _ := proto.Clone(r).(*routev3.Route)
	length := withHeader("content-length", regex("0*"))
	length.TreatMissingHeaderAsEmpty = true
	open.Match.Headers = append(
		open.Match.Headers,
		withHeader(":method", exact("GET")), withHeader("upgrade", regex("(?i)"+websocket)), length,
	)
	open.GetRoute().UpgradeConfigs = []*routev3.RouteAction_UpgradeConfig{{UpgradeType: websocket, Enabled: truth(true)}}
	return open
}

// preflight is for a route without OPTIONS: the CORS filter, which answers what fits here, looks at routes that forward
// and at no others. It leads nowhere: what the filter lets through must not reach a provider.
func (b *builder) preflight(r Route) *routev3.Route {
	return &routev3.Route{
		Name: r.Name,
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: r.Prefix},
			Headers: []*routev3.HeaderMatcher{
				withHeader(":method", exact("OPTIONS")), withHeader("origin", regex(".+")),
				withHeader("access-control-request-method", regex(".+")),
			},
		},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			// No client can send it.
			ClusterSpecifier:            &routev3.RouteAction_ClusterHeader{ClusterHeader: "x-tokenward-cluster"},
			ClusterNotFoundResponseCode: routev3.RouteAction_NOT_FOUND,
		}},
	}
}

// allowed matches the methods, however they are asked for.
func allowed(methods []string) []*routev3.HeaderMatcher {
	one := "(?:" + strings.Join(quotedMeta(methods), "|") + ")"
	out := []*routev3.HeaderMatcher{withHeader(":method", regex(one))}
	for _, name := range overrides {
		h := withHeader(name, regex("(?i)"+one+"?"))
		h.TreatMissingHeaderAsEmpty = true
		out = append(out, h)
	}
	return out
}

func quotedMeta(words []string) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		out = append(out, regexp.QuoteMeta(w))
	}
	return out
}

// refuse answers what fits the route's prefix and the headers.
func refuse(r Route, status uint32, headers ...*routev3.HeaderMatcher) *routev3.Route {
	return &routev3.Route{
		Name:   r.Name,
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: r.Prefix}, Headers: headers},
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}},
	}
}

// reflecting refuses TRACE where no route is: its answer would be the request itself (RFC 9110 section 9.3.8).
func reflecting(rs []Route) *routev3.Route {
	var methods []string
	for _, r := range rs {
		for _, m := range r.Methods {
			if !slices.Contains(methods, m) {
				methods = append(methods, m)
			}
		}
	}
	out := refuse(Route{Name: "reflecting", Prefix: "/"}, 405, withHeader(":method", regex("(?i)TRACE|TRACK")))
	out.ResponseHeadersToAdd = allow(methods)
	return out
}

// allow must come with a 405 (RFC 9110 section 15.5.6).
func allow(methods []string) []*corev3.HeaderValueOption {
	return []*corev3.HeaderValueOption{setHeader("allow", strings.Join(methods, ", "))}
}

func confusing() *routev3.Route {
	return refuse(Route{Name: "confusing", Prefix: "/"}, 400, withHeader(":path", regex(confusingPath)))
}

func (b *builder) keepsEscapedSlashes() bool {
	return slices.ContainsFunc(b.cfg.Routes, func(r Route) bool { return r.KeepEscapedSlashes })
}

// escapedSlashes refuses them before routes are looked at, unless one wants them.
func (b *builder) escapedSlashes() hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction {
	if b.keepsEscapedSlashes() {
		return hcmv3.HttpConnectionManager_KEEP_UNCHANGED
	}
	return hcmv3.HttpConnectionManager_REJECT_REQUEST
}

// hiddenTrailers removes what no route shows in headers from the trailers too.
func (b *builder) hiddenTrailers() []*mutationv3.HeaderMutation {
	out := []*mutationv3.HeaderMutation{removePrefix("x-tokenward-"), removePrefix("x-envoy-")}
	for _, h := range b.cfg.HiddenHeaders {
		out = append(out, removeHeader(h))
	}
	return out
}

func withHeader(name string, value *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: value}}
}
