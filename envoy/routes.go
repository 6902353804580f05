package envoy

import (
	"errors"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// outerRoutes makes one virtual host per host, longer prefixes first.
func (b *builder) outerRoutes() (*routev3.RouteConfiguration, error) {
	if len(b.cfg.Routes) == 0 {
		return nil, errors.New("no routes: there is nothing that clients could call")
	}
	byHost := map[string][]Route{}
	var hosts []string
	for _, r := range b.cfg.Routes {
		for _, h := range r.Hosts {
			if byHost[h] == nil {
				hosts = append(hosts, h)
			}
			byHost[h] = append(byHost[h], r)
		}
	}
	rc := &routev3.RouteConfiguration{Name: "tokenward", TypedPerFilterConfig: b.cors()}
	for _, h := range hosts {
		rs := byHost[h]
		slices.SortStableFunc(rs, func(x, y Route) int { return len(y.Prefix) - len(x.Prefix) })
		vh := &routev3.VirtualHost{
			Name: h, Domains: domains(h), IncludeRequestAttemptCount: true,
			RequestBodyBufferLimit:  wrapperspb.UInt64(uint64(b.cfg.RetryBodyLimit)),
			RequestHeadersToRemove:  slices.Clone(b.cfg.RemovedHeaders),
			ResponseHeadersToRemove: slices.Concat(clientMustNotSee, pagesMustNotBeTold),
			Routes:                  []*routev3.Route{confusing()},
		}
		// Evaluated once per request, the same on every attempt.
		for k, v := range map[string]string{
			"x-tokenward-id": "%UNIQUE_ID%", "x-tokenward-route": "%ROUTE_NAME%",
			"x-tokenward-client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "x-tokenward-san": "%DOWNSTREAM_PEER_URI_SAN%",
		} {
			vh.RequestHeadersToAdd = append(vh.RequestHeadersToAdd, setHeader(k, v))
		}
		slices.SortFunc(vh.RequestHeadersToAdd,
			func(x, y *corev3.HeaderValueOption) int { return strings.Compare(x.Header.Key, y.Header.Key) })
		for _, r := range rs {
			vh.Routes = append(vh.Routes, b.gate(r)...)
			// Here and not at the route: Envoy removes before it adds, and goes from the route outwards. At the route the
			// tenant would be read from a header that is already gone.
			if h := r.TenantHeader; h != "" && !slices.Contains(vh.RequestHeadersToRemove, h) {
				vh.RequestHeadersToRemove = append(vh.RequestHeadersToRemove, h)
			}
		}
		if len(b.cfg.Origins) > 0 { // so that a page may learn that no route is there
			vh.Routes = append(vh.Routes, b.preflight(Route{Name: "preflight", Prefix: "/"}))
		}
		vh.Routes = append(vh.Routes, reflecting(rs))
		rc.VirtualHosts = append(rc.VirtualHosts, vh)
	}
	return rc, nil
}

// domains is how Envoy matches a host: with and without a port.
func domains(host string) []string {
	if strings.Contains(host, "*") || strings.Contains(host, ":") && !strings.HasSuffix(host, "]") {
		return []string{host}
	}
	return []string{host, host + ":*"}
}

func outerRoute(r Route) *routev3.Route {
	out := &routev3.Route{
		Name:  r.Name,
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: r.Prefix}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{
				Cluster: ListenerAttempt,
			},
			Timeout:     forever,
			RetryPolicy: retryPolicy(r.Attempts),
		}},
	}
	switch {
	case r.TenantHeader != "":
		out.RequestHeadersToAdd = append(out.RequestHeadersToAdd,
			setHeader("x-tokenward-tenant", "%REQ("+r.TenantHeader+")%"))
	case r.Tenant != "":
		out.RequestHeadersToAdd = append(out.RequestHeadersToAdd, setHeader("x-tokenward-tenant", escape(r.Tenant)))
	}
	return out
}

// escape keeps a configured text from being read as a formatter.
func escape(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// notWaited is any gRPC status but 4, DEADLINE_EXCEEDED.
const notWaited = "[^4]|..+"

// retryPolicy retries on our marker alone: status codes play no part, the service decides. x-tokenward-status is the
// provider's status as the inner router saw it; the service removes it in every reply, so it is left only when the
// service died while it held the answer: a 401 is then retried instead of being passed on. x-tokenward-absent is how
// the call of a service that gave no answer ended: one that died is tried again, and the next attempt waits for its
// successor; one that was waited for in vain is not.
func retryPolicy(attempts int) *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn: "retriable-headers",
		RetriableHeaders: []*routev3.HeaderMatcher{
			withHeader("x-tokenward-retry", exact("1")), withHeader("x-tokenward-status", exact("401")),
			withHeader("x-tokenward-absent", regex(notWaited)),
		},
		NumRetries: u32(uint32(attempts - 1 + restartReserve)), //nolint:gosec // attempts is 1 to 10
		RetryBackOff: &routev3.RetryPolicy_RetryBackOff{
			BaseInterval: durationpb.New(time.Millisecond),
			MaxInterval:  durationpb.New(10 * time.Millisecond),
		},
		RateLimitedRetryBackOff: &routev3.RetryPolicy_RateLimitedRetryBackOff{
			MaxInterval:  durationpb.New(5 * time.Second),
			ResetHeaders: []*routev3.RetryPolicy_ResetHeader{{Name: "x-tokenward-after", Format: routev3.RetryPolicy_SECONDS}},
		},
	}
}

// attemptRoutes follows the cluster that the service named, and removes everything internal after that.
func attemptRoutes() *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{Name: "attempt", VirtualHosts: []*routev3.VirtualHost{{
		Name: "attempt", Domains: []string{"*"},
		RequestBodyBufferLimit:  wrapperspb.UInt64(1 << 20), // also the limit of a peeked answer
		RequestHeadersToRemove:  providerMustNotSee,
		ResponseHeadersToRemove: providerMustNotSay,
		ResponseHeadersToAdd:    []*corev3.HeaderValueOption{setHeader("x-tokenward-status", "%RESPONSE_CODE%")},
		Routes: []*routev3.Route{{
			Name:  "by_cluster_header",
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_ClusterHeader{ClusterHeader: "x-tokenward-cluster"}, Timeout: forever,
				HostRewriteSpecifier: &routev3.RouteAction_AutoHostRewrite{AutoHostRewrite: truth(true)},
			}},
		}},
	}}}
}
