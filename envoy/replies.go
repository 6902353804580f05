package envoy

import (
	"strconv"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	statsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Envoy's own answers, which are bare or hold its inner words, get a body that clients of either provider dialect can
// read, and a reason. A provider's answers never come here. Expressions are tried in order, the first that holds
// decides.

// reply is the form of an answer of Envoy's own.
type reply struct {
	when    string // CEL
	status  uint32 // instead of Envoy's, if not 0
	reason  string // tokenward-reason
	kind    string // error.type, of Anthropic's
	message string
	headers []*corev3.HeaderValueOption
}

// absent tells that the service never answered the request headers, so that nothing was sent to a provider.
const absent = "response.code_details == 'cluster_not_found' && !('x-tokenward-cluster' in request.headers)"

// callStatus is the gRPC status with which the call of the service ended in the request phase.
const callStatus = "%FILTER_STATE(" + FilterAttempt + ":FIELD:request_header_call_status)%"

// notRepeated tells clients' libraries that the same request would fare no better.
var notRepeated = setHeader("x-should-retry", "false")

var (
	unknownRoute = reply{
		when: "response.code == 404", reason: "unknown_route", kind: "not_found_error",
		headers: []*corev3.HeaderValueOption{notRepeated},
		message: "no route of the gateway matches this host and path: call one that its configuration names under routes",
	}
	hostRefused = denied(
		policyHost, "host_refused",
		"the gateway is not called by this Host name: call it as localhost or 127.0.0.1, "+
			"or name the host in its configuration under match.hosts of a route",
	)
	originRefused = denied(
		policyOrigin, "origin_refused",
		"web pages may not call the gateway: if this one may, name its Origin in the gateway's configuration "+
			"under clients.origins",
	)
	tenantRefused = denied(
		policyTenant, "tenant_denied",
		"only a proxy in front of the gateway may name a tenant: leave the header out, "+
			"or name the proxy's address in the gateway's configuration under clients.trusted_proxies",
	)
	tooLarge = reply{
		when: "response.code == 413 || response.code == 431", reason: "too_large", kind: "request_too_large",
		message: "the request is larger than the gateway takes: send fewer or shorter headers, or a smaller body",
	}
	wrongMethod = reply{
		when: "response.code == 405", reason: "method_not_allowed", kind: "invalid_request_error",
		headers: []*corev3.HeaderValueOption{notRepeated},
		message: "the gateway does not serve this method here: use one that the answer's allow header lists, " +
			"or have it added to the route's methods",
	}
	noUpgrade = reply{
		when: "response.code_details == 'upgrade_failed'", status: 400,
		reason: "bad_request", kind: "invalid_request_error", headers: []*corev3.HeaderValueOption{notRepeated},
		message: "the gateway carries no WebSocket here: use plain requests, or open it by GET, without a body, " +
			"by a path without escaped slashes, on a route that has websocket: true",
	}
	timedOut = reply{
		when: "response.code == 408 || response.code == 504", reason: "timeout", kind: "timeout_error",
		message: "the request or its answer did not go on in time: try again",
	}
	badRequest = reply{
		when:   "response.code >= 400 && response.code < 500 || response.code == 501",
		reason: "bad_request", kind: "invalid_request_error",
		message: "the gateway could not take the request as HTTP: look at its method, path, headers and upgrade",
	}
	upstreamFailed = reply{
		when: "response.code >= 500", reason: "upstream_failed", kind: "api_error",
		message: "the connection to the provider broke before its answer was complete: it may have processed the request",
	}
)

// denied is the answer to what a policy refuses before a route is looked for.
func denied(policy, reason, message string) reply {
	return reply{
		when:   "response.code_details == 'rbac_access_denied_matched_policy[" + policy + "]'",
		reason: reason, kind: "permission_error", message: message, headers: []*corev3.HeaderValueOption{notRepeated},
	}
}

// clientReplies are those of the outer listener.
func (b *builder) clientReplies() *hcmv3.LocalReplyConfig {
	overloaded := reply{
		when:   "response.code_details == 'overload'", // of the heap, which has no flag
		reason: "service_unavailable", kind: "api_error", headers: []*corev3.HeaderValueOption{b.retryAfter()},
		message: "the gateway has no room for the request: try again",
	}
	return &hcmv3.LocalReplyConfig{Mappers: b.forPages([]*hcmv3.ResponseMapper{
		b.when(hostRefused), b.when(originRefused), b.when(tenantRefused),
		b.when(unknownRoute), b.when(wrongMethod), b.when(noUpgrade),
		overloaded.mapper(flags("UF", "UH", "UO", "NC")), b.when(overloaded),
		b.when(tooLarge), b.when(timedOut), b.when(badRequest), b.when(upstreamFailed),
	})}
}

// forPages puts the same replies in front, for requests of pages that may call, whose browsers let them read what says
// so. The CORS filter says it on routes that forward and nowhere else.
func (b *builder) forPages(mappers []*hcmv3.ResponseMapper) []*hcmv3.ResponseMapper {
	if len(b.cfg.Origins) == 0 {
		return mappers
	}
	var pages []*accesslogv3.AccessLogFilter
	for _, o := range origins(b.cfg.Origins) {
		pages = append(pages, &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_HeaderFilter{
			HeaderFilter: &accesslogv3.HeaderFilter{Header: withHeader("origin", o)},
		}})
	}
	page := pages[0]
	if len(pages) > 1 {
		page = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{
			OrFilter: &accesslogv3.OrFilter{Filters: pages},
		}}
	}
	out := make([]*hcmv3.ResponseMapper, 0, 2*len(mappers))
	for _, m := range mappers {
		readable, _ := proto.Clone(m).(*hcmv3.ResponseMapper)
		readable.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
			AndFilter: &accesslogv3.AndFilter{Filters: []*accesslogv3.AccessLogFilter{page, m.GetFilter()}},
		}}
		readable.HeadersToAdd = append(
			readable.HeadersToAdd, setHeader("access-control-allow-origin", "%REQ(ORIGIN)%"),
			setHeader("access-control-expose-headers", "*"),
		)
		out = append(out, readable)
	}
	return append(out, mappers...)
}

// attemptReplies are those of the inner listener. What the service itself answers is one of them, and stays as it is.
func (b *builder) attemptReplies() *hcmv3.LocalReplyConfig {
	away := reply{
		when: absent, reason: "service_unavailable", kind: "api_error",
		message: "the gateway's token service does not answer: try again in a moment; " +
			"if it stays so, tell whoever runs the gateway",
		headers: []*corev3.HeaderValueOption{b.retryAfter(), setHeader("x-tokenward-absent", callStatus)},
	}
	unreachable := reply{
		reason: "upstream_unreachable",
		kind:   "api_error",
		message: "the gateway could not connect to its upstream: tell whoever runs the gateway to check the " +
			"upstream's url, " +
			"DNS, network and certificate",
	}
	own := &hcmv3.ResponseMapper{Filter: b.cel("response.code_details.startsWith('tokenward_')")}
	return &hcmv3.LocalReplyConfig{Mappers: []*hcmv3.ResponseMapper{
		own, b.when(away), unreachable.mapper(flags("UF", "UH", "UO", "NC")),
		b.when(tooLarge), b.when(timedOut), b.when(badRequest), b.when(upstreamFailed),
	}}
}

// retryAfter is in whole seconds (RFC 9110 section 10.2.3).
func (b *builder) retryAfter() *corev3.HeaderValueOption {
	return setHeader("retry-after", strconv.FormatInt(int64((b.cfg.RetryAfter+time.Second-1)/time.Second), 10))
}

func (b *builder) when(r reply) *hcmv3.ResponseMapper { return r.mapper(b.cel(r.when)) }

func (r reply) mapper(f *accesslogv3.AccessLogFilter) *hcmv3.ResponseMapper {
	text := structpb.NewStringValue
	object := func(fields map[string]*structpb.Value) *structpb.Value {
		return structpb.NewStructValue(&structpb.Struct{Fields: fields})
	}
	body := object(map[string]*structpb.Value{
		"type": text("error"),
		"error": object(map[string]*structpb.Value{
			"type": text(r.kind), "code": text(r.reason), "message": text(r.message),
		}),
		"tokenward": object(map[string]*structpb.Value{"reason": text(r.reason)}),
	})
	var status *wrapperspb.UInt32Value
	if r.status != 0 {
		status = u32(r.status)
	}
	return &hcmv3.ResponseMapper{
		Filter:       f,
		StatusCode:   status,
		HeadersToAdd: append([]*corev3.HeaderValueOption{setHeader("tokenward-reason", r.reason)}, r.headers...),
		BodyFormatOverride: &corev3.SubstitutionFormatString{
			ContentType: "application/json",
			Format:      &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: body.GetStructValue()},
		},
	}
}

func flags(names ...string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
		ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: names},
	}}
}

func (b *builder) cel(expression string) *accesslogv3.AccessLogFilter {
	f := &accesslogv3.ExtensionFilter{Name: "cel", ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{
		TypedConfig: b.any(&celv3.ExpressionFilter{Expression: expression}),
	}}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{ExtensionFilter: f}}
}

// amongErrors asks a filter for the statuses from 400 on alone: an expression costs six percent of a request.
func amongErrors(and *accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	from := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op:    accesslogv3.ComparisonFilter_GE,
			Value: &corev3.RuntimeUInt32{DefaultValue: 400, RuntimeKey: "tokenward.errors_from"},
		}},
	}}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: []*accesslogv3.AccessLogFilter{from, and}},
	}}
}

// answerCounter counts the answers that are not a provider's, the service's included, by reason.
func (b *builder) answerCounter() *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "answers", Filter: amongErrors(b.cel("'tokenward-reason' in response.headers")),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&statsv3.Config{
			StatPrefix: "tokenward", //nolint:staticcheck // Envoy 1.37 needs it, and its successor is not known there
			Counters: []*statsv3.Config_Counter{{
				Stat: &statsv3.Config_Stat{Name: "answers", Tags: []*statsv3.Config_Tag{
					{Name: "reason", ValueFormat: "%RESP(TOKENWARD-REASON)%"},
				}},
				ValueFixed: wrapperspb.UInt64(1),
			}},
		})},
	}
}
