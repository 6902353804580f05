package envoy

import (
	"fmt"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	mutationfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// longestSilence is how long a provider may say nothing, holds included; both listeners must allow it.
const longestSilence = 900 * time.Second

// upgrades are the ones that are carried; at the outer listener on the routes that ask for it.
func upgrades(everywhere bool) []*hcmv3.HttpConnectionManager_UpgradeConfig {
	return []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: websocket, Enabled: truth(everywhere)}}
}

const websocket = "websocket"

func (b *builder) outerListener() (*listenerv3.Listener, error) {
	host, port, err := splitAddress(b.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("envoy.listen: %w", err)
	}
	routes, err := b.outerRoutes()
	if err != nil {
		return nil, err
	}
	admission, err := b.admission()
	if err != nil {
		return nil, err
	}
	early := &earlyv3.HeaderMutation{}
	for _, p := range internalPrefixes {
		early.Mutations = append(early.Mutations, removePrefix(p))
	}
	early.Mutations = append(early.Mutations, removeHeader("x-request-id"))
	hcm := &hcmv3.HttpConnectionManager{
		StatPrefix:                   "llm",
		UseRemoteAddress:             truth(true),
		SkipXffAppend:                true,
		GenerateRequestId:            truth(true),
		AlwaysSetRequestIdInResponse: true,
		ServerHeaderTransformation:   hcmv3.HttpConnectionManager_PASS_THROUGH,
		NormalizePath:                truth(true),
		StreamIdleTimeout:            durationpb.New(longestSilence),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: b.escapedSlashes(),
		RequestHeadersTimeout:        durationpb.New(headersTimeout),
		RequestTimeout:               durationpb.New(b.cfg.UploadTimeout),
		CommonHttpProtocolOptions:    &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(idleTimeout)},
		UpgradeConfigs:               upgrades(false),
		HttpProtocolOptions: &corev3.Http1ProtocolOptions{
			AcceptHttp_10: true, DefaultHostForHttp_10: b.cfg.Listen,
			IgnoreHttp_11Upgrade: otherThan(websocket), // RFC 9110 section 7.8: a server may ignore an upgrade
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			InitialStreamWindowSize:     u32(256 << 10),
			InitialConnectionWindowSize: u32(16 << 20),
			MaxConcurrentStreams:        u32(100),
		},
		EarlyHeaderMutationExtensions: b.early(early),
		AccessLog: append(b.accessLog("request", map[string]string{
			"id":         "%REQ(X-TOKENWARD-ID)%",
			"request_id": "%REQ(X-REQUEST-ID)%",
			"route":      "%ROUTE_NAME%",
			"method":     "%REQ(:METHOD)%",
			"code":       "%RESPONSE_CODE%",
			"details":    "%RESPONSE_CODE_DETAILS%",
			"flags":      "%RESPONSE_FLAGS%",
			"attempts":   "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
			"ms":         "%DURATION%",
		}), b.answerCounter()),
		HttpFilters: append(
			admission,
			b.filter("tokenward.response_scrub", &mutationfilterv3.HeaderMutation{Mutations: &mutationfilterv3.Mutations{
				ResponseMutations:         []*mutationv3.HeaderMutation{removePrefix("x-tokenward-"), removePrefix("x-envoy-")},
				ResponseTrailersMutations: b.hiddenTrailers(),
				// no header's rule would hold for them
				RequestTrailersMutations: []*mutationv3.HeaderMutation{removeMatching(".*")},
			}}),
			b.router(),
		),
		LocalReplyConfig: b.clientReplies(),
		RouteSpecifier:   &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routes},
	}
	chain := b.chain(hcm)
	chain.TransportSocketConnectTimeout = durationpb.New(handshakeTimeout)
	if b.cfg.CertFile != "" {
		chain.TransportSocket = &corev3.TransportSocket{
			Name: "envoy.transport_sockets.tls",
			ConfigType: &corev3.TransportSocket_TypedConfig{
				TypedConfig: b.any(&tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
					AlpnProtocols: []string{"h2", "http/1.1"},
					TlsCertificates: []*tlsv3.TlsCertificate{
						{CertificateChain: file(b.cfg.CertFile), PrivateKey: file(b.cfg.KeyFile)},
					},
				}}),
			},
		}
	}
	return &listenerv3.Listener{
		Name:                          ListenerIn,
		Address:                       socket(host, port),
		PerConnectionBufferLimitBytes: u32(1 << 20),
		FilterChains:                  []*listenerv3.FilterChain{chain},
		// With a socket per worker a second gateway could bind the same port and get half of the connections, in silence. One
		// socket alone is shared unevenly, so Envoy balances it.
		EnableReusePort: truth(false),
		ConnectionBalanceConfig: &listenerv3.Listener_ConnectionBalanceConfig{
			BalanceType: &listenerv3.Listener_ConnectionBalanceConfig_ExactBalance_{
				ExactBalance: &listenerv3.Listener_ConnectionBalanceConfig_ExactBalance{},
			},
		},
	}, nil
}

func (b *builder) attemptListener() *listenerv3.Listener {
	// Here, since the outer listener's filters may look at them, and its routes at a tenant's header.
	early := &earlyv3.HeaderMutation{
		Mutations: []*mutationv3.HeaderMutation{removeMatching(unwanted(b.cfg.RemovedHeaders))},
	}
	hcm := &hcmv3.HttpConnectionManager{
		StatPrefix:                 "attempt",
		GenerateRequestId:          truth(false),
		PreserveExternalRequestId:  true,
		SkipXffAppend:              true,
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		StreamIdleTimeout:          durationpb.New(longestSilence),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			MaxHeadersCount: u32(innerHeaders),
		},
		MaxRequestHeadersKb: u32(innerHeadersKB),
		UpgradeConfigs:      upgrades(true),
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			AllowConnect:                true,
			InitialStreamWindowSize:     u32(64 << 10),
			InitialConnectionWindowSize: u32(16 << 20),
		},
		InternalAddressConfig:         &hcmv3.HttpConnectionManager_InternalAddressConfig{UnixSockets: true},
		LocalReplyConfig:              b.attemptReplies(),
		EarlyHeaderMutationExtensions: b.early(early),
		AccessLog: b.accessLog("attempt", map[string]string{
			"id":           "%DYNAMIC_METADATA(tokenward:id)%",
			"account":      "%DYNAMIC_METADATA(tokenward:account)%",
			"attempt":      "%DYNAMIC_METADATA(tokenward:attempt)%",
			"verdict":      "%DYNAMIC_METADATA(tokenward:verdict)%",
			"decision":     "%DYNAMIC_METADATA(tokenward:decision)%",
			"recovered_ms": "%DYNAMIC_METADATA(tokenward:recovered_ms)%",
			"cluster":      "%UPSTREAM_CLUSTER_RAW%",
			"code":         "%RESPONSE_CODE%",
			"details":      "%RESPONSE_CODE_DETAILS%",
			"flags":        "%RESPONSE_FLAGS%",
			"service":      callStatus,
			"tls":          "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
			"ms":           "%DURATION%",
		}),
		HttpFilters:    []*hcmv3.HttpFilter{b.attemptFilter(), b.router()},
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: attemptRoutes()},
	}
	return &listenerv3.Listener{
		Name:                  ListenerAttempt,
		FilterChains:          []*listenerv3.FilterChain{b.chain(hcm)},
		BypassOverloadManager: true,
		IgnoreGlobalConnLimit: true, // what comes here has been let in
		ListenerSpecifier: &listenerv3.Listener_InternalListener{
			InternalListener: &listenerv3.Listener_InternalListenerConfig{},
		},
	}
}

func (b *builder) early(m *earlyv3.HeaderMutation) []*corev3.TypedExtensionConfig {
	if len(m.GetMutations()) == 0 {
		return nil
	}
	return []*corev3.TypedExtensionConfig{
		{Name: "envoy.http.early_header_mutation.header_mutation", TypedConfig: b.any(m)},
	}
}

func (b *builder) chain(hcm *hcmv3.HttpConnectionManager) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: b.any(hcm)},
	}}}
}

func (b *builder) router() *hcmv3.HttpFilter {
	return b.filter("envoy.filters.http.router", &routerv3.Router{SuppressEnvoyHeaders: true})
}

// accessLog writes one JSON line to standard output.
func (b *builder) accessLog(kind string, fields map[string]string) []*accesslogv3.AccessLog {
	format := &structpb.Struct{
		Fields: map[string]*structpb.Value{
			"log":  structpb.NewStringValue(kind),
			"time": structpb.NewStringValue("%START_TIME%"),
		},
	}
	for k, v := range fields {
		format.Fields[k] = structpb.NewStringValue(v)
	}
	return []*accesslogv3.AccessLog{
		{Name: "stdout", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{
				LogFormat: &corev3.SubstitutionFormatString{
					Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: format},
				},
			},
		})}},
	}
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}
