package envoy

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	internalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Build makes the complete bootstrap.
func Build(c Config) (*bootstrapv3.Bootstrap, error) {
	b := &builder{cfg: c}
	outer, err := b.outerListener()
	if err != nil {
		return nil, err
	}
	clusters, err := b.clusters()
	if err != nil {
		return nil, err
	}
	boot := &bootstrapv3.Bootstrap{
		BootstrapExtensions: []*corev3.TypedExtensionConfig{{
			Name:        "envoy.bootstrap.internal_listener",
			TypedConfig: b.any(&internalv3.InternalListener{}),
		}},
		LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
			Name: "tokenward", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: &structpb.Struct{
				Fields: map[string]*structpb.Value{"re2.max_program_size.error_level": structpb.NewNumberValue(mostSteps)},
			}},
		}}},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{outer, b.attemptListener()},
			Clusters:  clusters,
		},
	}
	if err := b.operators(boot); err != nil {
		return nil, err
	}
	b.bound(boot)
	if b.err != nil {
		return nil, b.err
	}
	return boot, boot.ValidateAll()
}

// mostSteps is how large an expression's program may be. Envoy's own bound, 100, protects what strangers may configure.
const mostSteps = 10_000

// builder keeps the first encoding error, so that nested literals stay readable.
type builder struct {
	cfg Config
	err error
}

func (b *builder) any(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil && b.err == nil {
		b.err = err
	}
	return a
}

func socket(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func u32(v uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(v) }

func truth(v bool) *wrapperspb.BoolValue { return wrapperspb.Bool(v) }

var forever = durationpb.New(0)
