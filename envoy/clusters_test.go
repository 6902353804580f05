package envoy

import (
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

func clusterNamed(t *testing.T, c Config, name string) *clusterv3.Cluster {
	t.Helper()
	for _, cluster := range decode(t, c).boot.GetStaticResources().GetClusters() {
		if cluster.GetName() == name {
			return cluster
		}
	}
	t.Fatalf("no cluster %s", name)
	return nil
}

// kindOf names the protocol that a cluster speaks.
func kindOf(t *testing.T, c *clusterv3.Cluster) string {
	t.Helper()
	o := options(t, c)
	switch {
	case o.GetAutoConfig() != nil:
		return "alpn"
	case o.GetExplicitHttpConfig().GetHttp2ProtocolOptions() != nil:
		return "h2"
	case o.GetExplicitHttpConfig().GetHttpProtocolOptions() != nil:
		return "h1"
	}
	return "none"
}

func TestAnUpstreamsURLDecidesItsCluster(t *testing.T) {
	for _, tt := range []struct {
		url, protocol     string
		kind, speaks, sni string
		san               string
		alpn              []string
		authority         string
	}{
		{"https://api.example", "auto", "STRICT_DNS", "alpn", "api.example", "DNS:api.example", nil, "api.example"},
		{"https://api.example/", "http1", "STRICT_DNS", "h1", "api.example", "DNS:api.example", []string{"http/1.1"}, "api.example"},
		{"https://api.example:8443", "http2", "STRICT_DNS", "h2", "api.example", "DNS:api.example", []string{"h2"}, "api.example:8443"},
		{"https://192.0.2.7", "auto", "STATIC", "alpn", "", "IP_ADDRESS:192.0.2.7", nil, "192.0.2.7"},
		{"https://[2001:db8::7]", "auto", "STATIC", "alpn", "", "IP_ADDRESS:2001:db8::7", nil, "[2001:db8::7]"},
		{"http://[2001:db8::7]:8080", "auto", "STATIC", "h1", "", "", nil, "[2001:db8::7]:8080"},
		{"http://127.0.0.1:8080", "auto", "STATIC", "h1", "", "", nil, "127.0.0.1:8080"},
		{"http://llm.internal", "http1", "STRICT_DNS", "h1", "", "", nil, "llm.internal"},
		{"http://llm.internal", "http2", "STRICT_DNS", "h2", "", "", nil, "llm.internal"},
	} {
		t.Run(tt.url+" "+tt.protocol, func(t *testing.T) {
			c := samples()["small"]
			c.Upstreams = []Upstream{{Name: "up", URL: tt.url, Protocol: tt.protocol}}
			cluster := clusterNamed(t, c, "up")
			if got := cluster.GetType().String(); got != tt.kind {
				t.Errorf("type %s, want %s", got, tt.kind)
			}
			if got := kindOf(t, cluster); got != tt.speaks {
				t.Errorf("speaks %s, want %s", got, tt.speaks)
			}
			if got := cluster.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().
				GetHostname(); got != tt.authority {
				t.Errorf("the provider is called %q, want %q", got, tt.authority)
			}
			if tt.san == "" {
				if cluster.GetTransportSocket() != nil {
					t.Error("http:// with TLS")
				}
				return
			}
			tls := &tlsv3.UpstreamTlsContext{}
			unpack(t, cluster.GetTransportSocket().GetTypedConfig(), tls)
			check := tls.GetCommonTlsContext().GetValidationContext()
			sans := check.GetMatchTypedSubjectAltNames()
			if len(sans) != 1 || sans[0].GetSanType().String()+":"+sans[0].GetMatcher().GetExact() != tt.san {
				t.Errorf("names accepted: %v, want %s alone", sans, tt.san)
			}
			if tls.GetSni() != tt.sni || !slices.Equal(tls.GetCommonTlsContext().GetAlpnProtocols(), tt.alpn) {
				t.Errorf("SNI %q, ALPN %v; want %q, %v", tls.GetSni(), tls.GetCommonTlsContext().GetAlpnProtocols(), tt.sni,
					tt.alpn)
			}
			if check.GetTrustedCa().GetFilename() != c.SystemCAFile {
				t.Errorf("trusts %v, want the system's bundle", check.GetTrustedCa())
			}
		})
	}
}

func TestAnUpstreamsOwnCAReplacesTheSystems(t *testing.T) {
	tls := &tlsv3.UpstreamTlsContext{}
	unpack(t, clusterNamed(t, samples()["everything"], "own-ca").GetTransportSocket().GetTypedConfig(), tls)
	if got := tls.GetCommonTlsContext().
		GetValidationContext().
		GetTrustedCa().
		GetFilename(); got != "/etc/tokenward/llm-ca.crt" {
		t.Errorf("trusts %s", got)
	}
}

func TestEveryClusterIsAnUpstreamOrOneOfOurOwn(t *testing.T) {
	for name, c := range samples() {
		own := OwnClusters()
		for _, u := range c.Upstreams {
			own = append(own, u.Name)
		}
		for _, cluster := range decode(t, c).boot.GetStaticResources().GetClusters() {
			if !slices.Contains(own, cluster.GetName()) {
				t.Errorf("%s: an upstream may be called %s, as a cluster of ours is", name, cluster.GetName())
			}
		}
	}
}

func TestTheServiceIsReachedWhereItListens(t *testing.T) {
	for _, tt := range []struct{ listen, name, kind, want, san string }{
		{"unix:/run/x.sock", "", "STATIC", "/run/x.sock", ""},
		{"tcp://127.0.0.1:9002", "", "STATIC", "127.0.0.1:9002", "IP_ADDRESS:127.0.0.1"},
		{"tcp://localhost:9002", "", "STATIC", "127.0.0.1:9002", "IP_ADDRESS:127.0.0.1"},
		{"tcp://tokenward.example:9002", "", "STRICT_DNS", "tokenward.example:9002", "DNS:tokenward.example"},
		{"tcp://127.0.0.1:9002", "tw.internal", "STATIC", "127.0.0.1:9002", "DNS:tw.internal"},
		{"tcp://tw.example:9002", "192.0.2.1", "STRICT_DNS", "tw.example:9002", "IP_ADDRESS:192.0.2.1"},
		{"tcp://127.0.0.1:9002", "spiffe://x.example/tw", "STATIC", "127.0.0.1:9002", "URI:spiffe://x.example/tw"},
	} {
		t.Run(tt.listen+" "+tt.name, func(t *testing.T) {
			c := samples()["small"]
			c.ExtProc, c.ExtProcTLS, c.ExtProcSAN = tt.listen, tt.san != "", tt.name
			cluster := clusterNamed(t, c, clusterService)
			a := cluster.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress()
			got := a.GetPipe().GetPath()
			if s := a.GetSocketAddress(); s != nil {
				got = authority(endpoint{host: s.GetAddress(), port: s.GetPortValue()})
			}
			if got != tt.want || cluster.GetType().String() != tt.kind || kindOf(t, cluster) != "h2" {
				t.Errorf("%s cluster to %s over %s, want %s to %s over h2", cluster.GetType(), got, kindOf(t, cluster), tt.kind,
					tt.want)
			}
			if tt.san == "" {
				return
			}
			tls := &tlsv3.UpstreamTlsContext{}
			unpack(t, cluster.GetTransportSocket().GetTypedConfig(), tls)
			if s := tls.GetCommonTlsContext().GetValidationContext().GetMatchTypedSubjectAltNames()[0]; s.GetSanType().
				String()+
				":"+s.GetMatcher().
				GetExact() !=
				tt.san {
				t.Errorf("accepts the name %v, want %s", s, tt.san)
			}
		})
	}
}

func TestWhatCannotWorkIsRefusedWithTheValueInTheMessage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"a path in an upstream's URL", func(c *Config) { c.Upstreams[0].URL = "https://api.example/v2" }, `upstream anthropic: upstream URL "https://api.example/v2"`},
		{"an upstream's URL without a scheme", func(c *Config) { c.Upstreams[0].URL = "api.example" }, `"api.example"`},
		{"another scheme", func(c *Config) { c.Upstreams[0].URL = "ftp://api.example" }, `"ftp://api.example"`},
		{"a port beyond the last", func(c *Config) { c.Upstreams[0].URL = "https://api.example:65536" }, "port"},
		{"no routes", func(c *Config) { c.Routes = nil }, "no routes"},
		{"a listen address without a port", func(c *Config) { c.Listen = "127.0.0.1" }, `envoy.listen: address "127.0.0.1"`},
		{"an admin address with a named port", func(c *Config) { c.Admin = "127.0.0.1:http" }, `envoy.admin: address "127.0.0.1:http"`},
		{"an address of the service without a port", func(c *Config) { c.ExtProc = "tcp://127.0.0.1" }, `extproc.listen: address "127.0.0.1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := samples()["small"]
			tt.change(&c)
			if _, err := Build(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %s", err, tt.want)
			}
		})
	}
}

func FuzzAnyUpstreamURLIsRefusedOrBuildsAValidCluster(f *testing.F) {
	for _, s := range []string{"https://api.example", "http://[::1]:80", "https://h:0", "http://%zz", "https://u:p@h?q#f", "http://a b", "https://\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		c := samples()["small"]
		c.Upstreams[0].URL = raw
		boot, err := Build(c)
		if err != nil {
			return
		}
		if err := boot.ValidateAll(); err != nil {
			t.Errorf("%q builds what Envoy refuses: %v", raw, err)
		}
	})
}
