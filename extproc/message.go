package extproc

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tokenward/tokenward/tokenstore"
)

// This file and response.go are the only ones that build and read ext_proc messages: the encoding can be replaced.

// requestFacts is what an attempt's request headers tell.
type requestFacts struct {
	id      string
	request string // for people: the id that the client sees
	route   string
	tenant  string
	client  string
	path    string // without the query
	attempt string
	headers headerMap
}

// headerMap looks headers up in Envoy's list, which is short: forward_rules let few through.
type headerMap struct{ list []*corev3.HeaderValue }

// Get returns the header's value, several joined by commas (RFC 9110 section 5.3), "" when absent.
func (h headerMap) Get(name string) string {
	out, found := "", false
	for _, e := range h.list {
		if e.GetKey() != name {
			continue
		}
		v := e.GetValue()
		if raw := e.GetRawValue(); len(raw) > 0 {
			v = string(raw)
		}
		if found {
			v = out + "," + v
		}
		out, found = v, true
	}
	return out
}

func readRequest(h *extprocv3.HttpHeaders) requestFacts {
	m := headerMap{h.GetHeaders().GetHeaders()}
	path, _, _ := strings.Cut(m.Get(":path"), "?")
	return requestFacts{
		id:      m.Get(headerID),
		request: cmp.Or(m.Get(headerRequest), m.Get(headerID)),
		route:   m.Get(headerRoute),
		tenant:  m.Get(headerTenant),
		client:  m.Get(headerClient),
		path:    path,
		attempt: m.Get(headerAttempt),
		headers: m,
	}
}

func set(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// pickReply puts the pick's headers on the attempt and names the upstream's cluster, which the inner route follows.
// What the client sent as credentials is taken out first.
func pickReply(p tokenstore.Pick, f requestFacts, s *scrub, meta *structpb.Struct) *extprocv3.ProcessingResponse {
	m := &extprocv3.HeaderMutation{SetHeaders: make([]*corev3.HeaderValueOption, 0, len(p.Headers)+1)}
	m.SetHeaders = append(m.SetHeaders, set(headerCluster, p.Cluster))
	s.clean(f, m)
	asked := f.headers.Get(headerAccept)
	if taken := narrow(asked); taken != asked {
		m.SetHeaders = append(m.SetHeaders, set(headerAccept, taken))
	}
	for _, h := range p.Headers {
		value := h.Value
		if h.Merge {
			value = merge(f.headers.Get(h.Name), h.Value)
		}
		m.SetHeaders = append(m.SetHeaders, set(h.Name, value))
	}
	return &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{
			Response: &extprocv3.CommonResponse{ClearRouteCache: true, HeaderMutation: m},
		}},
		DynamicMetadata: meta,
	}
}

// merge adds value to the client's comma-separated list unless it is there.
func merge(list, value string) string {
	if strings.TrimSpace(list) == "" {
		return value
	}
	for e := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(e), value) {
			return list
		}
	}
	return list + "," + value
}

// final is the header mutation of every final reply to a response.
func final(retry bool, attempts int) *extprocv3.CommonResponse {
	m := &extprocv3.HeaderMutation{RemoveHeaders: []string{headerStatus}}
	if retry {
		m.SetHeaders = append(m.SetHeaders, set(headerRetry, "1"))
	} else if attempts > 0 {
		m.SetHeaders = append(m.SetHeaders, set(headerAttempts, strconv.Itoa(attempts)))
	}
	return &extprocv3.CommonResponse{HeaderMutation: m}
}

func responseReply(retry bool, attempts int, meta *structpb.Struct) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{
		DynamicMetadata: meta,
		Response: &extprocv3.ProcessingResponse_ResponseHeaders{
			ResponseHeaders: &extprocv3.HeadersResponse{Response: final(retry, attempts)},
		},
	}
}

func bodyReply(retry bool, attempts int, meta *structpb.Struct) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{
		DynamicMetadata: meta,
		Response: &extprocv3.ProcessingResponse_ResponseBody{
			ResponseBody: &extprocv3.BodyResponse{Response: final(retry, attempts)},
		},
	}
}

// peekReply asks for the buffered body; the headers are decided when it has come.
func peekReply(mode filterv3.ProcessingMode_BodySendMode) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_ResponseHeaders{
			ResponseHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{}},
		},
		ModeOverride: &filterv3.ProcessingMode{
			ResponseHeaderMode: filterv3.ProcessingMode_SEND, ResponseBodyMode: mode,
			RequestTrailerMode: filterv3.ProcessingMode_SKIP, ResponseTrailerMode: filterv3.ProcessingMode_SKIP,
		},
	}
}

// retryReply asks for another attempt when the answer's own headers are out of reach: Envoy holds them for a body that
// does not come.
func retryReply(meta *structpb.Struct) *extprocv3.ProcessingResponse {
	reply := &extprocv3.ProcessingResponse{DynamicMetadata: meta}
	reply.Response = &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
			Headers: &extprocv3.HeaderMutation{
				SetHeaders: []*corev3.HeaderValueOption{set(headerRetry, "1"), set(headerStatus, "0")},
			},
			Details: "tokenward_retry",
		},
	}
	return reply
}

// needsHuman reports whether the same request would be refused again until somebody has done something.
func needsHuman(r tokenstore.Reason) bool {
	switch r {
	case tokenstore.ReasonCredentialsRefused,
		tokenstore.ReasonNoHealthyAccount,
		tokenstore.ReasonUnknownRoute,
		tokenstore.ReasonTenantDenied:
		return true
	case tokenstore.ReasonAllCooling, tokenstore.ReasonStoreUnavailable, tokenstore.ReasonUpstreamUnreachable:
	}
	return false
}

// refusalReply is an answer of our own. It carries no retry marker: nobody is left to try.
func refusalReply(ref *tokenstore.Refusal, attempts int, meta *structpb.Struct) *extprocv3.ProcessingResponse {
	// In the response phase Envoy notes the provider's status on our answer too: a 401 there would be retried.
	m := &extprocv3.HeaderMutation{
		SetHeaders: []*corev3.HeaderValueOption{
			set("content-type", ref.ContentType), set(headerReason, string(ref.Reason)), set(headerStatus, "0"),
		},
	}
	if s := ref.RetryAfterSeconds(); s > 0 {
		m.SetHeaders = append(m.SetHeaders, set("retry-after", strconv.Itoa(s)))
	} else if needsHuman(ref.Reason) {
		m.SetHeaders = append(m.SetHeaders, set(headerShouldRetry, "false"))
	}
	if attempts > 0 {
		m.SetHeaders = append(m.SetHeaders, set(headerAttempts, strconv.Itoa(attempts)))
	}
	return &extprocv3.ProcessingResponse{DynamicMetadata: meta, Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(ref.Status)}, //nolint:gosec // 429 or 503
			Headers: m,
			Body:    ref.Body,
			Details: "tokenward_" + string(ref.Reason),
		},
	}}
}

// The dynamic metadata is what the access log of the attempt shows; Envoy merges the two phases' keys.

func (a *attempt) requestMetadata(decision string) *structpb.Struct {
	fields := map[string]*structpb.Value{
		"id":      text(a.facts.id),
		"account": text(string(a.pick.Account)),
		"attempt": text(a.facts.attempt),
	}
	if decision != "" {
		fields["decision"] = structpb.NewStringValue(decision)
	}
	return inNamespace(fields)
}

func (a *attempt) responseMetadata(d tokenstore.Decision) *structpb.Struct {
	fields := map[string]*structpb.Value{
		"verdict":  structpb.NewStringValue(d.Verdict.Class.String()),
		"decision": structpb.NewStringValue(d.Action.String()),
	}
	if started := a.trail.Started(); !started.IsZero() {
		fields["recovered_ms"] = structpb.NewNumberValue(float64(time.Since(started).Milliseconds()))
	}
	return inNamespace(fields)
}

// text is a value of metadata, which must be UTF-8 or is not sent at all.
func text(s string) *structpb.Value { return structpb.NewStringValue(strings.ToValidUTF8(s, "\ufffd")) }

func inNamespace(fields map[string]*structpb.Value) *structpb.Struct {
	return &structpb.Struct{
		Fields: map[string]*structpb.Value{metadataNamespace: structpb.NewStructValue(&structpb.Struct{Fields: fields})},
	}
}
