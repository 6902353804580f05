package envoy

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

func TestWhatBodiesMayUseUpFitsIntoHalfOfTheHeap(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		heap    uint64
		limit   uint32
		uploads uint32
		large   uint64
	}{
		{1 << 30, 32 * mib, 16, 8 * mib},
		{8 << 30, 32 * mib, 128, 8 * mib},
		{128 * mib, 64 * mib, 1, 16 * mib},
		{256 * mib, 3 * mib, 42, 3 * mib / 4},
		{1 << 40, 64, mostRequests, 16},
		{1 << 30, 0, 0, 0},
	} {
		b := Config{MaxHeap: tt.heap, RetryBodyLimit: tt.limit, MaxConnections: 7}.Bounds()
		want := Bounds{7, mostRequests, tt.uploads, tt.large, uint64(tt.uploads) * uint64(tt.limit), tt.heap}
		if b != want {
			t.Errorf("%d with bodies of %d: got %+v, want %+v", tt.heap, tt.limit, b, want)
		}
		if b.Kept > tt.heap/2 {
			t.Errorf("%d with bodies of %d: %d is more than half", tt.heap, tt.limit, b.Kept)
		}
	}
}

func TestEveryRouteBoundsLargeBodies(t *testing.T) {
	forwarding := func(b built) (hosts [][]*routev3.Route) {
		for _, vh := range b.outer.GetRouteConfig().GetVirtualHosts() {
			hosts = append(hosts, slices.DeleteFunc(slices.Clone(vh.GetRoutes()), func(r *routev3.Route) bool {
				return r.GetRoute().GetCluster() == "" || len(r.GetRoute().GetUpgradeConfigs()) > 0 // which has no body
			}))
		}
		return hosts
	}
	announced := func(r *routev3.Route) bool {
		return slices.ContainsFunc(r.GetMatch().GetHeaders(), func(h *routev3.HeaderMatcher) bool {
			return h.GetName() == "content-length"
		})
	}
	eachSample(t, func(t *testing.T, b built) {
		for _, routes := range forwarding(b) {
			if len(routes)%2 != 0 {
				t.Fatalf("a host has %d routes", len(routes))
			}
			for pair := range slices.Chunk(routes, 2) {
				large, all := pair[0], pair[1]
				if !announced(large) || large.GetRoute().GetPriority() != corev3.RoutingPriority_HIGH {
					t.Errorf("route %s has no bound for large bodies: %v", large.GetName(), large)
				}
				if announced(all) || all.GetRoute().GetPriority() != corev3.RoutingPriority_DEFAULT {
					t.Errorf("route %s is not for all other requests: %v", all.GetName(), all)
				}
				if large.GetName() != all.GetName() || large.GetMatch().GetPrefix() != all.GetMatch().GetPrefix() {
					t.Errorf("routes %s and %s are no pair", large.GetName(), all.GetName())
				}
			}
		}
	})
	c := samples()["small"]
	c.RetryBodyLimit = 0
	if n := len(forwarding(decode(t, c))[0]); n != 1 {
		t.Errorf("with nothing kept for retries there are %d routes", n)
	}
}

func TestClientsAreTimedOutAndTheInnerSideIsNotBoundTwice(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		for name, d := range map[string]time.Duration{
			"head": b.outer.GetRequestHeadersTimeout().AsDuration(), "request": b.outer.GetRequestTimeout().AsDuration(),
			"idle": b.outer.GetCommonHttpProtocolOptions().GetIdleTimeout().AsDuration(),
		} {
			if d <= 0 || d > 5*time.Minute {
				t.Errorf("%s: %s", name, d)
			}
		}
		if b.inner.GetRequestHeadersTimeout() != nil || b.inner.GetRequestTimeout() != nil {
			t.Error("the inner side times a request out that the outer one repeats")
		}
		for _, l := range b.boot.GetStaticResources().GetListeners() {
			inner, readers := l.GetName() == ListenerAttempt, l.GetName() == ListenerAdmin
			if l.GetBypassOverloadManager() != inner || l.GetIgnoreGlobalConnLimit() != (inner || readers) {
				t.Errorf("listener %s: what was let in is bound again, or clients are not", l.GetName())
			}
			if d := l.GetFilterChains()[0].GetTransportSocketConnectTimeout().AsDuration(); !inner && !readers && d <= 0 {
				t.Error("a handshake may last for ever")
			}
		}
		if !b.boot.GetAdmin().GetIgnoreGlobalConnLimit() {
			t.Error("a full gateway locks out who looks after it")
		}
	})
}

// TestTheLargestRequestsAreEndedBeforeNewOnesAreRefused: good small requests go on.
func TestTheLargestRequestsAreEndedBeforeNewOnesAreRefused(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		from := map[string]float64{}
		for _, a := range b.boot.GetOverloadManager().GetActions() {
			trigger := a.GetTriggers()[0]
			name := strings.TrimPrefix(a.GetName(), "envoy.overload_actions.")
			from[name] = trigger.GetThreshold().GetValue() + trigger.GetScaled().GetScalingThreshold()
		}
		order := []string{"reduce_timeouts", "shrink_heap", "reset_high_memory_stream", "disable_http_keepalive", "stop_accepting_requests", "stop_accepting_connections"}
		if !slices.IsSortedFunc(order, func(x, y string) int { return int(1000*from[x]) - int(1000*from[y]) }) ||
			from["reduce_timeouts"] == 0 {
			t.Errorf("actions begin at %v", from)
		}
	})
	for limit, want := range map[uint32]uint32{0: 14, 1: 14, 1 << 20: 14, 8 << 20: 16, 32 << 20: 18, 1<<32 - 1: 24} {
		b := &builder{cfg: Config{RetryBodyLimit: limit}}
		if got := b.smallestTracked(); got != want {
			t.Errorf("bodies of %d: tracked from 2^%d, want 2^%d", limit, got, want)
		}
	}
}

// TestAFullEnvoyRefusesInJSON has an Envoy whose heap is above its bound from the start.
func TestAFullEnvoyRefusesInJSON(t *testing.T) {
	address := startOuter(t, samples()["small"].Routes, http.NotFoundHandler(), func(boot *bootstrapv3.Bootstrap) {
		m := boot.GetOverloadManager()
		m.Actions = slices.DeleteFunc(m.Actions, func(a *overloadv3.OverloadAction) bool {
			return !strings.HasSuffix(a.GetName(), "stop_accepting_requests")
		})
		m.Actions[0].GetTriggers()[0].GetThreshold().Value = 0
	})
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, body := call(t, address, "", "/v1/x", nil)
		if resp.StatusCode != http.StatusServiceUnavailable && time.Now().Before(end) {
			continue // it looks ten times a second
		}
		var told struct{ Tokenward struct{ Reason string } }
		if err := json.Unmarshal([]byte(body), &told); err != nil || told.Tokenward.Reason != "service_unavailable" ||
			resp.Header.Get("retry-after") != "2" {
			t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
		}
		return
	}
}
