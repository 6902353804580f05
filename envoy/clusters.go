package envoy

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

func (b *builder) clusters() ([]*clusterv3.Cluster, error) {
	service, err := b.serviceCluster()
	if err != nil {
		return nil, err
	}
	out := []*clusterv3.Cluster{b.hopCluster(), service}
	for _, u := range b.cfg.Upstreams {
		c, err := b.upstreamCluster(u)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// breakers are generous: a held or waiting request occupies them, and an overflow would be a lost request.
func breakers() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
		{
			MaxConnections:     u32(8192),
			MaxPendingRequests: u32(mostRequests),
			MaxRequests:        u32(mostRequests),
			MaxRetries:         u32(mostRequests),
			TrackRemaining:     true,
		},
	}}
}

// options makes room for answers with many headers. Envoy's default of 100 would count its own and ours too.
func (b *builder) options(o *httpv3.HttpProtocolOptions) map[string]*anypb.Any {
	if o.CommonHttpProtocolOptions == nil {
		o.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{}
	}
	o.CommonHttpProtocolOptions.MaxHeadersCount = u32(innerHeaders)
	o.CommonHttpProtocolOptions.MaxResponseHeadersKb = u32(innerHeadersKB)
	return map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": b.any(o)}
}

func explicitHTTP2(o *corev3.Http2ProtocolOptions) *httpv3.HttpProtocolOptions {
	return &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: o},
			},
		},
	}
}

// hopRequests is how many requests, of whatever clients, one connection to the inner listener carries. Envoy ends a
// connection with all that is on it once 250 requests of the first 500, or half of all, were given up early
// (overload.premature_reset_total_stream_count), which is right for a client's connection. One that is shared must not
// come so far, or one client that gives up its requests would end those of others.
const hopRequests = 249

// hopCluster leads to the inner listener, in memory. Small windows: 100 streams of 64 KiB stay below the connection's
// 16 MiB, so that stalled clients cannot use up a shared connection.
func (b *builder) hopCluster() *clusterv3.Cluster {
	h2 := explicitHTTP2(&corev3.Http2ProtocolOptions{
		AllowConnect: true, InitialStreamWindowSize: u32(64 << 10),
		InitialConnectionWindowSize: u32(16 << 20), MaxConcurrentStreams: u32(100),
		OverrideStreamErrorOnInvalidHttpMessage: truth(true), // what HTTP/1 may say and HTTP/2 may not ends its request alone
	})
	h2.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxRequestsPerConnection: u32(hopRequests)}
	return &clusterv3.Cluster{
		Name:                 ListenerAttempt,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(time.Second),
		LoadAssignment: assignment(
			ListenerAttempt,
			&endpointv3.Endpoint{Address: &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{
				EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
					AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: ListenerAttempt},
				},
			}}},
		),
		CircuitBreakers:               b.hopBreakers(),
		TypedExtensionProtocolOptions: b.options(h2),
	}
}

// serviceCluster leads to this service.
func (b *builder) serviceCluster() (*clusterv3.Cluster, error) {
	c := &clusterv3.Cluster{
		Name:                 clusterService,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(500 * time.Millisecond),
		CircuitBreakers:      breakers(),
		TypedExtensionProtocolOptions: b.options(explicitHTTP2(&corev3.Http2ProtocolOptions{
			MaxConcurrentStreams: u32(1024),
			ConnectionKeepalive: &corev3.KeepaliveSettings{
				Interval: durationpb.New(30 * time.Second),
				Timeout:  durationpb.New(5 * time.Second),
			},
		})),
	}
	if path, ok := strings.CutPrefix(b.cfg.ExtProc, "unix:"); ok {
		c.LoadAssignment = assignment(clusterService,
			&endpointv3.Endpoint{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}})
		return c, nil
	}
	host, port, err := splitAddress(strings.TrimPrefix(b.cfg.ExtProc, "tcp://"))
	if err != nil {
		return nil, fmt.Errorf("extproc.listen: %w", err)
	}
	c.LoadAssignment = assignment(clusterService, &endpointv3.Endpoint{Address: socket(host, port)})
	e := endpoint{host: host, ip: net.ParseIP(host) != nil}
	if !e.ip {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	}
	if !b.cfg.ExtProcTLS {
		return c, nil
	}
	if name := b.cfg.ExtProcSAN; name != "" {
		e = endpoint{host: name, ip: net.ParseIP(name) != nil}
	}
	var own []*tlsv3.TlsCertificate
	if b.cfg.ExtProcCertFile != "" {
		own = []*tlsv3.TlsCertificate{{CertificateChain: file(b.cfg.ExtProcCertFile), PrivateKey: file(b.cfg.ExtProcKeyFile)}}
	}
	c.TransportSocket, err = b.tls(e, b.cfg.ExtProcCAFile, []string{"h2"}, own...)
	return c, err
}

func (b *builder) upstreamCluster(u Upstream) (*clusterv3.Cluster, error) {
	e, err := parseURL(u.URL)
	if err != nil {
		return nil, err
	}
	kind := clusterv3.Cluster_STRICT_DNS
	if e.ip {
		kind = clusterv3.Cluster_STATIC
	}
	c := &clusterv3.Cluster{
		Name:                 u.Name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: kind},
		DnsLookupFamily:      clusterv3.Cluster_V4_PREFERRED,
		ConnectTimeout:       durationpb.New(5 * time.Second),
		LoadAssignment: assignment(u.Name, &endpointv3.Endpoint{
			Hostname: authority(e), Address: socket(e.host, e.port),
		}),
		CircuitBreakers:               breakers(),
		TypedExtensionProtocolOptions: b.options(protocol(u.Protocol, e.tls)),
	}
	if !e.tls {
		return c, nil
	}
	alpn := map[string][]string{"http1": {"http/1.1"}, "http2": {"h2"}}[u.Protocol] // auto: from the protocol options
	c.TransportSocket, err = b.tls(e, u.CAFile, alpn)
	return c, err
}

// authority is the host that the provider sees.
func authority(e endpoint) string {
	if e.tls && e.port == 443 || !e.tls && e.port == 80 {
		return strings.TrimSuffix(net.JoinHostPort(e.host, ""), ":") // IPv6 in brackets
	}
	return net.JoinHostPort(e.host, strconv.Itoa(int(e.port)))
}

// protocol towards a provider. auto is ALPN's choice over TLS and HTTP/1.1 in the clear.
func protocol(p string, tls bool) *httpv3.HttpProtocolOptions {
	h2 := &corev3.Http2ProtocolOptions{
		InitialStreamWindowSize:     u32(256 << 10),
		InitialConnectionWindowSize: u32(32 << 20),
		MaxConcurrentStreams:        u32(100),
		ConnectionKeepalive: &corev3.KeepaliveSettings{
			Interval: durationpb.New(30 * time.Second),
			Timeout:  durationpb.New(10 * time.Second),
		},
		OverrideStreamErrorOnInvalidHttpMessage: truth(true), // the connection carries other clients' answers too
	}
	switch {
	case p == "http2":
		return explicitHTTP2(h2)
	case p == "http1" || !tls:
		return &httpv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
						HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
					},
				},
			},
		}
	}
	return &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_AutoConfig{
			AutoConfig: &httpv3.HttpProtocolOptions_AutoHttpConfig{Http2ProtocolOptions: h2},
		},
	}
}

// tls verifies the peer's name, fixed per cluster and independent of what the client asked for, and shows it own.
func (b *builder) tls(
	e endpoint, caFile string, alpn []string, own ...*tlsv3.TlsCertificate,
) (*corev3.TransportSocket, error) {
	if caFile == "" {
		caFile = b.cfg.SystemCAFile
	}
	if caFile == "" {
		var err error
		if caFile, err = systemCA(); err != nil {
			return nil, err
		}
	}
	san, sni := tlsv3.SubjectAltNameMatcher_DNS, e.host
	switch {
	case e.ip:
		san, sni = tlsv3.SubjectAltNameMatcher_IP_ADDRESS, ""
	case strings.Contains(e.host, "://"): // a workload's identity
		san, sni = tlsv3.SubjectAltNameMatcher_URI, ""
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(&tlsv3.UpstreamTlsContext{
			Sni: sni,
			CommonTlsContext: &tlsv3.CommonTlsContext{
				AlpnProtocols:   alpn,
				TlsCertificates: own,
				ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{
					ValidationContext: &tlsv3.CertificateValidationContext{
						TrustedCa:                 file(caFile),
						MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{SanType: san, Matcher: exact(e.host)}},
					},
				},
			},
		})},
	}, nil
}

func assignment(cluster string, e *endpointv3.Endpoint) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: e}}},
	}}}
}
