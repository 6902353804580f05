package envoy

import (
	"fmt"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	connlimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Envoy's admin interface asks nobody who he is: it changes log levels, so that tokens are printed, and ends Envoy.
// What every process and web page of this machine can reach is therefore only what can be read without harm.

// readable are the paths of the admin interface that everybody may read.
var readable = []string{"/ready", "/stats", "/stats/prometheus"}

// mostReaders is how many connections to the readable part there may be.
const mostReaders = 64

// operators adds the admin interface: on its own address with what is readable alone, or on a Unix socket of this user,
// with a listener that leads to what is readable.
func (b *builder) operators(boot *bootstrapv3.Bootstrap) error {
	host, port, err := splitAddress(b.cfg.Admin)
	if err != nil {
		return fmt.Errorf("envoy.admin: %w", err)
	}
	if b.cfg.AdminSocket == "" {
		boot.Admin = &bootstrapv3.Admin{Address: socket(host, port)}
		for _, p := range readable {
			boot.Admin.AllowPaths = append(boot.Admin.AllowPaths, regex(p+`(?:\?.*)?`)) // the query is part of it
		}
		return nil
	}
	pipe := &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: b.cfg.AdminSocket, Mode: 0o600}}}
	boot.Admin = &bootstrapv3.Admin{Address: pipe}
	static := boot.GetStaticResources()
	// A full gateway must not lock out who looks after it, so this listener has a bound of its own.
	chain := b.chain(&hcmv3.HttpConnectionManager{
		StatPrefix: "admin_reads", NormalizePath: truth(true), MergeSlashes: true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		RequestHeadersTimeout:        durationpb.New(10 * time.Second), StreamIdleTimeout: durationpb.New(time.Minute),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(time.Minute)},
		HttpFilters:               []*hcmv3.HttpFilter{b.router()},
		RouteSpecifier:            &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: readRoutes()},
	})
	chain.Filters = append([]*listenerv3.Filter{{
		Name: "envoy.filters.network.connection_limit",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: b.any(&connlimitv3.ConnectionLimit{
			StatPrefix: "admin_reads", MaxConnections: wrapperspb.UInt64(mostReaders),
		})},
	}}, chain.Filters...)
	static.Listeners = append(static.Listeners, &listenerv3.Listener{
		Name: ListenerAdmin, Address: socket(host, port), EnableReusePort: truth(false), IgnoreGlobalConnLimit: true,
		FilterChains: []*listenerv3.FilterChain{chain},
	})
	static.Clusters = append(static.Clusters, &clusterv3.Cluster{
		Name: ListenerAdmin, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout: durationpb.New(time.Second), CircuitBreakers: breakers(),
		LoadAssignment:                assignment(ListenerAdmin, &endpointv3.Endpoint{Address: pipe}),
		TypedExtensionProtocolOptions: b.options(protocol("http1", false)),
	})
	return nil
}

// readRoutes lead to what is readable, by GET and HEAD.
func readRoutes() *routev3.RouteConfiguration {
	host := &routev3.VirtualHost{Name: "admin", Domains: []string{"*"}}
	for _, path := range readable {
		host.Routes = append(host.Routes, &routev3.Route{
			Match: &routev3.RouteMatch{
				PathSpecifier: &routev3.RouteMatch_Path{Path: path},
				Headers:       []*routev3.HeaderMatcher{withHeader(":method", regex("GET|HEAD"))},
			},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: ListenerAdmin},
			}},
		})
	}
	text := "only GET " + strings.Join(readable, ", ") + ": the rest of Envoy's admin interface is on the Unix socket " +
		"in the folder of its configuration, for the user that runs tokenward\n"
	host.Routes = append(host.Routes, &routev3.Route{
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
			Status: 403, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}},
		}},
	})
	return &routev3.RouteConfiguration{Name: "admin", VirtualHosts: []*routev3.VirtualHost{host}}
}
