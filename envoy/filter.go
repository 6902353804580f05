package envoy

import (
	"strings"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

func (b *builder) filter(name string, cfg proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(cfg)}}
}

func (b *builder) attemptFilter() *hcmv3.HttpFilter {
	forward := []*matcherv3.StringMatcher{
		exact(":method"), exact(":path"), exact(":status"), prefix("x-tokenward-"), exact("x-envoy-attempt-count"),
		exact("x-request-id"),
		exact("content-length"), exact("content-type"), exact("content-encoding"), exact("www-authenticate"),
		exact("accept-encoding"),
		exact("sec-websocket-protocol"), // browsers put keys there
	}
	for _, h := range b.cfg.ForwardHeaders {
		if family, all := strings.CutSuffix(h, "*"); all {
			forward = append(forward, prefix(family))
		} else {
			forward = append(forward, exact(h))
		}
	}
	return b.filter(FilterAttempt, &extprocv3.ExternalProcessor{
		StatPrefix: "attempt",
		GrpcService: &corev3.GrpcService{
			// The service may ask this Envoy for answers of unknown length. With an older configuration it must not.
			InitialMetadata: []*corev3.HeaderValue{{Key: "x-tokenward-peek", Value: "partial"}},
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: clusterService},
			},
			RetryPolicy: b.reconnect(),
		},
		// Safe here and only here: without the service's reply the cluster header is missing and the request cannot leave.
		// And a death of the service does not kill an answer that a provider is already giving.
		FailureModeAllow: true,
		MessageTimeout:   durationpb.New(b.cfg.ServiceWait),
		// an override above it would be ignored
		MaxMessageTimeout: durationpb.New(max(b.cfg.LongestHold+5*time.Second, b.cfg.ServiceWait)),
		ProcessingMode: &extprocv3.ProcessingMode{
			RequestHeaderMode: extprocv3.ProcessingMode_SEND, ResponseHeaderMode: extprocv3.ProcessingMode_SEND,
			RequestTrailerMode: extprocv3.ProcessingMode_SKIP, ResponseTrailerMode: extprocv3.ProcessingMode_SKIP,
		},
		AllowModeOverride: true,
		// An answer of known length, and one whose length is not known.
		AllowedOverrideModes: []*extprocv3.ProcessingMode{
			peek(extprocv3.ProcessingMode_BUFFERED), peek(extprocv3.ProcessingMode_BUFFERED_PARTIAL),
		},
		MutationRules: &mutationv3.HeaderMutationRules{
			AllowAllRouting: truth(false), AllowEnvoy: truth(false), DisallowSystem: truth(true),
			AllowExpression: &matcherv3.RegexMatcher{Regex: ":path"}, // a client's credentials are cut out of the query
		},
		ForwardRules:       &extprocv3.HeaderForwardingRules{AllowedHeaders: &matcherv3.ListStringMatcher{Patterns: forward}},
		ResponseAttributes: []string{"response.code_details", "response.flags"},
		MetadataOptions: &extprocv3.MetadataOptions{
			ReceivingNamespaces: &extprocv3.MetadataOptions_MetadataNamespaces{Untyped: []string{"tokenward"}},
		},
	})
}

// reconnect makes a message to a service that is not there wait for it: until the message's own timeout, since so many
// tries take longer. The jittered pauses are half of the longest one on average.
func (b *builder) reconnect() *corev3.RetryPolicy {
	const longest = 400 * time.Millisecond
	return &corev3.RetryPolicy{
		RetryOn:    "connect-failure,refused-stream",
		NumRetries: u32(uint32(10 + 4*b.cfg.ServiceWait/longest)), //nolint:gosec // minutes at most
		RetryBackOff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(longest / 4),
			MaxInterval:  durationpb.New(longest),
		},
	}
}

// peek is how the service may ask for the body of an error answer.
func peek(body extprocv3.ProcessingMode_BodySendMode) *extprocv3.ProcessingMode {
	return &extprocv3.ProcessingMode{
		ResponseHeaderMode: extprocv3.ProcessingMode_SEND, ResponseBodyMode: body,
		RequestTrailerMode: extprocv3.ProcessingMode_SKIP, ResponseTrailerMode: extprocv3.ProcessingMode_SKIP,
	}
}
