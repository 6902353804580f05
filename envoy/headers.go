package envoy

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Header hygiene in both directions. A header filter on the inner side cannot do it: without x-forwarded-proto or the
// cluster header the inner route would no longer be found, so removal there happens at the router, by name.

// internalPrefixes never survive from a client's request.
var internalPrefixes = []string{"x-tokenward-", "x-envoy-", "x-forwarded-"}

// credentialHeaders of the client are its own affair with the gateway, never the provider's.
var credentialHeaders = []string{"authorization", "x-api-key", "proxy-authorization", "cookie"}

// providerMustNotSee is removed after the inner route was chosen.
var providerMustNotSee = []string{
	"x-tokenward-cluster", "x-tokenward-id", "x-tokenward-route", "x-tokenward-tenant", "x-tokenward-client", "x-tokenward-san",
	"x-envoy-attempt-count", "x-envoy-external-address", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms", "x-envoy-original-path",
	"x-forwarded-proto", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-client-cert",
	"x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
}

// providerMustNotSay is removed from a provider's answer before the service sees it. By name and at the route, because
// a filter would remove these headers from the service's own refusals too.
var providerMustNotSay = []string{"x-tokenward-retry", "x-tokenward-after", "tokenward-reason", "tokenward-attempts"}

// clientMustNotSee is removed on the way out; the prefix x-tokenward- goes by a filter as well.
var clientMustNotSee = []string{"x-tokenward-retry", "x-tokenward-after", "x-tokenward-status", "x-envoy-upstream-service-time"}

func removePrefix(prefix string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
		KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}},
	}}}
}

func removeHeader(name string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}}
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD}
}

func exact(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

func prefix(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: s}}
}
