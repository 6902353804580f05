package envoy

import (
	"math"
	"math/bits"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// What clients may use up. Heads and handshakes come in one go; a body may take its time, within Config.UploadTimeout;
// how long an answer takes is the provider's and the reader's business.
const (
	headersTimeout   = 10 * time.Second // from the first byte of a request's head to its last
	handshakeTimeout = 10 * time.Second // of TLS
	idleTimeout      = 2 * time.Minute  // of a connection without a request; longer than what clients and balancers keep
	shortIdleTimeout = 5 * time.Second  // the same, while more than half of the heap is in use
	mostRequests     = 16384            // under way
)

// Bounds is what clients can use up in all. What comes on top is answered with a 503, or not accepted.
type Bounds struct {
	Connections uint32
	Requests    uint32
	Uploads     uint32 // at once, of those with a body above Large
	Large       uint64 // bytes
	Kept        uint64 // bytes of bodies that Uploads keep for retries
	Heap        uint64 // bytes; what nears it is relieved of its largest requests
}

// Bounds of a gateway with this configuration.
func (c Config) Bounds() Bounds {
	b := Bounds{Connections: c.MaxConnections, Requests: mostRequests, Heap: c.MaxHeap}
	if limit := uint64(c.RetryBodyLimit); limit > 0 {
		// Half of the heap: a body that is refused while it comes in is there twice.
		b.Uploads = uint32(min(max(c.MaxHeap/2/limit, 1), mostRequests))
		b.Large, b.Kept = limit/4, uint64(b.Uploads)*limit
	}
	return b
}

// largeBodies is the route of requests that announce a large body, beside the route of all. Its priority has a circuit
// breaker of its own. A body of unknown length may well be small: those are left to the heap's bound.
func (b *builder) largeBodies(r *routev3.Route) *routev3.Route {
	bounds := b.cfg.Bounds()
	if bounds.Uploads == 0 {
		return nil
	}
	large, _ := proto.Clone(r).(*routev3.Route)
	large.Match.Headers = append(large.Match.Headers, &routev3.HeaderMatcher{
		Name: "content-length", HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{
			RangeMatch: &typev3.Int64Range{Start: int64(bounds.Large) + 1, End: math.MaxInt64}, //nolint:gosec // below 4 GiB
		},
	})
	large.GetRoute().Priority = corev3.RoutingPriority_HIGH
	return large
}

// hopBreakers bound what is under way. A held or waiting request occupies them too. A connection that has carried its
// share of requests (hopRequests) stays for the last of them, so there may be as many as requests.
func (b *builder) hopBreakers() *clusterv3.CircuitBreakers {
	all := breakers()
	all.Thresholds[0].MaxConnections = u32(mostRequests)
	if n := b.cfg.Bounds().Uploads; n > 0 {
		large, _ := proto.Clone(all.Thresholds[0]).(*clusterv3.CircuitBreakers_Thresholds)
		large.Priority, large.MaxRequests, large.MaxPendingRequests = corev3.RoutingPriority_HIGH, u32(n), u32(n)
		all.Thresholds = append(all.Thresholds, large)
	}
	return all
}

const heapMonitor = "envoy.resource_monitors.fixed_heap"

// overload keeps Envoy's heap below its bound: what holds most is ended first, and long before that nobody new is let
// in. The shares are of MaxHeap.
func (b *builder) overload() *overloadv3.OverloadManager {
	at := func(action string, share float64) *overloadv3.OverloadAction {
		return &overloadv3.OverloadAction{Name: "envoy.overload_actions." + action, Triggers: []*overloadv3.Trigger{
			{
				Name:         heapMonitor,
				TriggerOneof: &overloadv3.Trigger_Threshold{Threshold: &overloadv3.ThresholdTrigger{Value: share}},
			},
		}}
	}
	reset := &overloadv3.OverloadAction{
		Name: "envoy.overload_actions.reset_high_memory_stream",
		Triggers: []*overloadv3.Trigger{{
			Name: heapMonitor, TriggerOneof: &overloadv3.Trigger_Scaled{
				Scaled: &overloadv3.ScaledTrigger{ScalingThreshold: 0.75, SaturationThreshold: 0.95},
			},
		}},
	}
	// An HTTP/1 connection whose request was reset stays open without an answer, and so idle.
	idle := at("reduce_timeouts", 0.5)
	idle.TypedConfig = b.any(&overloadv3.ScaleTimersOverloadActionConfig{
		TimerScaleFactors: []*overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer{{
			Timer: overloadv3.ScaleTimersOverloadActionConfig_HTTP_DOWNSTREAM_CONNECTION_IDLE,
			OverloadAdjust: &overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer_MinTimeout{
				MinTimeout: durationpb.New(shortIdleTimeout),
			},
		}},
	})
	return &overloadv3.OverloadManager{
		RefreshInterval: durationpb.New(100 * time.Millisecond), // a fast network fills 100 MB in that time
		ResourceMonitors: []*overloadv3.ResourceMonitor{
			{Name: heapMonitor, ConfigType: &overloadv3.ResourceMonitor_TypedConfig{
				TypedConfig: b.any(&heapv3.FixedHeapConfig{MaxHeapSizeBytes: b.cfg.MaxHeap}),
			}},
			{
				Name: "envoy.resource_monitors.global_downstream_max_connections",
				ConfigType: &overloadv3.ResourceMonitor_TypedConfig{
					TypedConfig: b.any(&connectionsv3.DownstreamConnectionsConfig{
						MaxActiveDownstreamConnections: int64(b.cfg.MaxConnections),
					}),
				},
			},
		},
		Actions: []*overloadv3.OverloadAction{
			idle, at("shrink_heap", 0.7), reset, at("disable_http_keepalive", 0.85),
			at("stop_accepting_requests", 0.95), at("stop_accepting_connections", 0.98),
		},
		BufferFactoryConfig: &overloadv3.BufferFactoryConfig{MinimumAccountToTrackPowerOfTwo: b.smallestTracked()},
	}
}

// smallestTracked is the power of two from which a request's memory is told apart. Envoy has eight classes, each twice
// as large as the one before; the largest ends where a body is too large to be kept.
func (b *builder) smallestTracked() uint32 {
	const smallest, classes = 14, 8
	return uint32(max(bits.Len32(b.cfg.RetryBodyLimit)-classes, smallest)) //nolint:gosec // 24 at most
}

// bound gives a bootstrap its bounds. The inner listener has none: what comes there has been let in already.
func (b *builder) bound(boot *bootstrapv3.Bootstrap) {
	boot.OverloadManager = b.overload()
	boot.Admin.IgnoreGlobalConnLimit = true // whoever looks after an overloaded gateway must get in
}
