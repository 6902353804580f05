package envoy

import (
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// These tests hold the built configuration against what is known to crash Envoy, to hang it, or to leak.

// built is a bootstrap with its nested parts decoded.
type built struct {
	boot         *bootstrapv3.Bootstrap
	outer, inner *hcmv3.HttpConnectionManager
	filter       *extprocv3.ExternalProcessor
}

func decode(t *testing.T, c Config) built {
	t.Helper()
	boot, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	b := built{
		boot:   boot,
		outer:  &hcmv3.HttpConnectionManager{},
		inner:  &hcmv3.HttpConnectionManager{},
		filter: &extprocv3.ExternalProcessor{},
	}
	into := map[string]*hcmv3.HttpConnectionManager{ListenerIn: b.outer, ListenerAttempt: b.inner}
	if c.AdminSocket != "" {
		into[ListenerAdmin] = &hcmv3.HttpConnectionManager{}
	}
	listeners := boot.GetStaticResources().GetListeners()
	if len(listeners) != len(into) {
		t.Fatalf("%d listeners, want %d", len(listeners), len(into))
	}
	for _, l := range listeners {
		unpack(t, hcmOf(l), into[l.GetName()])
	}
	unpack(t, b.inner.GetHttpFilters()[0].GetTypedConfig(), b.filter)
	return b
}

func hcmOf(l *listenerv3.Listener) *anypb.Any {
	filters := l.GetFilterChains()[0].GetFilters()
	return filters[len(filters)-1].GetTypedConfig()
}

func unpack(t *testing.T, a *anypb.Any, into proto.Message) {
	t.Helper()
	if err := a.UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
}

func eachSample(t *testing.T, check func(*testing.T, built)) {
	t.Helper()
	for name, c := range samples() {
		t.Run(name, func(t *testing.T) { check(t, decode(t, c)) })
	}
}

func TestNothingInternalReachesAProvider(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		for _, vh := range b.inner.GetRouteConfig().GetVirtualHosts() {
			removed := vh.GetRequestHeadersToRemove()
			for _, h := range []string{
				"x-tokenward-cluster", "x-envoy-attempt-count", "x-envoy-external-address", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms",
				"x-envoy-original-path", "x-forwarded-proto", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-client-cert", "x-request-id",
				"traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
			} {
				if !slices.Contains(removed, h) {
					t.Errorf("the inner side lets %s through", h)
				}
			}
			for _, added := range addedByOuter(b) { // whatever the outer side says to the inner one
				if !slices.Contains(removed, added) {
					t.Errorf("the outer side adds %s, and the inner side lets it through", added)
				}
			}
		}
	})
}

func addedByOuter(b built) (names []string) {
	for _, vh := range b.outer.GetRouteConfig().GetVirtualHosts() {
		for _, h := range vh.GetRequestHeadersToAdd() {
			names = append(names, h.GetHeader().GetKey())
		}
		for _, r := range vh.GetRoutes() {
			for _, h := range r.GetRequestHeadersToAdd() {
				names = append(names, h.GetHeader().GetKey())
			}
		}
	}
	return names
}

func TestNothingInternalIsTakenFromAClient(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		early := &earlyv3.HeaderMutation{}
		unpack(t, b.outer.GetEarlyHeaderMutationExtensions()[0].GetTypedConfig(), early)
		var removed []string
		for _, m := range early.GetMutations() {
			removed = append(removed, m.GetRemove()+m.GetRemoveOnMatch().GetKeyMatcher().GetPrefix())
		}
		for _, want := range []string{"x-tokenward-", "x-envoy-", "x-forwarded-", "x-request-id"} {
			if !slices.Contains(removed, want) {
				t.Errorf("a client's own %s survives", want)
			}
		}
		for _, vh := range b.outer.GetRouteConfig().GetVirtualHosts() {
			for _, want := range []string{"authorization", "x-api-key", "proxy-authorization", "cookie"} {
				if !slices.Contains(vh.GetRequestHeadersToRemove(), want) {
					t.Errorf("host %s lets the client's %s through", vh.GetName(), want)
				}
			}
			if !vh.GetIncludeRequestAttemptCount() {
				t.Errorf("host %s does not count attempts", vh.GetName())
			}
			for _, h := range vh.GetRequestHeadersToAdd() {
				if h.GetAppendAction().String() != "OVERWRITE_IF_EXISTS_OR_ADD" {
					t.Errorf("%s is appended to what is there", h.GetHeader().GetKey())
				}
			}
		}
	})
}

func TestAProvidersOwnMarkerIsRemovedBeforeTheServiceSeesTheAnswer(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		for _, vh := range b.inner.GetRouteConfig().GetVirtualHosts() {
			for _, want := range []string{"x-tokenward-retry", "x-tokenward-after", "tokenward-reason", "tokenward-attempts"} {
				if !slices.Contains(vh.GetResponseHeadersToRemove(), want) {
					t.Errorf("a provider can send %s", want)
				}
			}
			status := vh.GetResponseHeadersToAdd()
			if len(status) != 1 || status[0].GetHeader().GetKey() != "x-tokenward-status" ||
				status[0].GetAppendAction().String() != "OVERWRITE_IF_EXISTS_OR_ADD" {
				t.Errorf("the provider's status is not noted, or a provider can forge it: %v", status)
			}
		}
		for _, vh := range b.outer.GetRouteConfig().GetVirtualHosts() {
			for _, want := range []string{"x-tokenward-retry", "x-tokenward-after", "x-tokenward-status"} {
				if !slices.Contains(vh.GetResponseHeadersToRemove(), want) {
					t.Errorf("a client of host %s sees %s", vh.GetName(), want)
				}
			}
			for _, r := range vh.GetResponseHeadersToRemove() {
				if strings.HasPrefix(r, "tokenward-") || r == "retry-after" {
					t.Errorf("host %s hides %s, which is meant for clients", vh.GetName(), r)
				}
			}
		}
	})
}

// TestFailingOpenIsSafe: failure_mode_allow may be set only where a request without the service's answer has no way
// out.
func TestFailingOpenIsSafe(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		if !b.filter.GetFailureModeAllow() {
			t.Error("failure_mode_allow is off: a death of the service would cut answers that providers are giving")
		}
		routes := 0
		for _, vh := range b.inner.GetRouteConfig().GetVirtualHosts() {
			for _, r := range vh.GetRoutes() {
				routes++
				if r.GetRoute().GetClusterHeader() != "x-tokenward-cluster" {
					t.Errorf("route %s can leave without the service's answer: %v", r.GetName(), r.GetRoute().GetClusterSpecifier())
				}
				if r.GetDirectResponse() != nil || r.GetRedirect() != nil || r.GetRoute().GetRetryPolicy() != nil ||
					len(r.GetTypedPerFilterConfig()) > 0 {
					t.Errorf("route %s does more than following the cluster header", r.GetName())
				}
			}
		}
		if routes != 1 {
			t.Errorf("%d inner routes, want the one that follows the cluster header", routes)
		}
	})
}

func TestTheServiceSeesEveryAttemptAndEveryAnswer(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		if got := b.inner.GetHttpFilters(); len(got) != 2 || got[0].GetName() != FilterAttempt ||
			got[1].GetName() != "envoy.filters.http.router" {
			t.Errorf("inner filters: %v", got)
		}
		modes := append([]*extprocv3.ProcessingMode{b.filter.GetProcessingMode()}, b.filter.GetAllowedOverrideModes()...)
		for _, m := range modes {
			if m.GetResponseHeaderMode() != extprocv3.ProcessingMode_SEND ||
				m.GetRequestHeaderMode() == extprocv3.ProcessingMode_SKIP {
				t.Errorf("a header phase can be skipped: %v", m)
			}
			if m.GetRequestBodyMode() != extprocv3.ProcessingMode_NONE ||
				m.GetResponseBodyMode() == extprocv3.ProcessingMode_STREAMED {
				t.Errorf("a body mode that cannot serve: %v", m)
			}
		}
		for _, a := range slices.Concat(b.filter.GetRequestAttributes(), b.filter.GetResponseAttributes()) {
			if strings.HasPrefix(a, "xds.") {
				t.Errorf("asking for %s crashes Envoy", a)
			}
		}
		if !slices.Contains(b.filter.GetResponseAttributes(), "response.code_details") {
			t.Error("the service cannot tell a provider's answer from Envoy's own")
		}
		if r := b.filter.GetMutationRules(); r.GetAllowAllRouting().GetValue() || r.GetAllowEnvoy().GetValue() ||
			!r.GetDisallowSystem().GetValue() {
			t.Errorf("the service may change what it must not: %v", r)
		}
	})
}

func TestAHoldFitsIntoTheLongestMessageTimeout(t *testing.T) {
	c := samples()["small"]
	for _, hold := range []time.Duration{time.Second, 15 * time.Second, 5 * time.Minute} {
		c.LongestHold = hold
		b := decode(t, c)
		if got := b.filter.GetMaxMessageTimeout().AsDuration(); got <= hold {
			t.Errorf("max_message_timeout is %s: an override for a hold of %s would be ignored", got, hold)
		}
		for side, hcm := range map[string]*hcmv3.HttpConnectionManager{"outer": b.outer, "inner": b.inner} {
			if got := hcm.GetStreamIdleTimeout().AsDuration(); got <= hold {
				t.Errorf("the %s side ends a held stream after %s", side, got)
			}
		}
	}
}

func TestNoFilterStateIsPassedAndNoUpstreamFilterRuns(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		text := protojson.Format(b.boot)
		for _, bad := range []string{"internal_upstream", "set_filter_state", "passthroughFilterStateObjects", "passthroughMetadata", "xds.node"} {
			if strings.Contains(text, bad) {
				t.Errorf("the configuration has %s", bad)
			}
		}
		for _, c := range b.boot.GetStaticResources().GetClusters() {
			if o := options(t, c); len(o.GetHttpFilters()) > 0 || len(c.GetFilters()) > 0 {
				t.Errorf("cluster %s has filters of its own", c.GetName())
			}
		}
		if n := strings.Count(text, "filters.http.ext_proc.v3.ExternalProcessor"); n != 1 {
			t.Errorf("ext_proc is configured %d times, want once, on the inner side", n)
		}
	})
}

func options(t *testing.T, c *clusterv3.Cluster) *httpv3.HttpProtocolOptions {
	t.Helper()
	o := &httpv3.HttpProtocolOptions{}
	unpack(t, c.GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"], o)
	return o
}

// TestNobodyUsesUpOrEndsASharedConnection: streams x stream window must stay below the connection's window, and a bad
// answer must end its stream alone.
func TestNobodyUsesUpOrEndsASharedConnection(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		for _, c := range b.boot.GetStaticResources().GetClusters() {
			o := options(t, c)
			h2 := o.GetExplicitHttpConfig().GetHttp2ProtocolOptions()
			if auto := o.GetAutoConfig().GetHttp2ProtocolOptions(); auto != nil {
				h2 = auto
			}
			if h2 == nil || c.GetName() == clusterService { // HTTP/1.1 shares nothing; the service gets headers only
				continue
			}
			streams, window, all := h2.GetMaxConcurrentStreams().
				GetValue(),
				h2.GetInitialStreamWindowSize().
					GetValue(),
				h2.GetInitialConnectionWindowSize().
					GetValue()
			if streams == 0 || window == 0 || uint64(streams)*uint64(window) >= uint64(all) {
				t.Errorf("cluster %s: %d streams of %d bytes fill a connection of %d", c.GetName(), streams, window, all)
			}
			if !h2.GetOverrideStreamErrorOnInvalidHttpMessage().GetValue() {
				t.Errorf("cluster %s: one bad answer ends what else its connection carries", c.GetName())
			}
			th := c.GetCircuitBreakers().GetThresholds()
			if len(th) == 0 || th[0].GetMaxRequests().GetValue() < 16384 || th[0].GetMaxRetries().GetValue() < 16384 ||
				th[0].GetMaxPendingRequests().GetValue() < 16384 {
				t.Errorf("cluster %s: held requests would overflow %v", c.GetName(), th)
			}
		}
	})
}
