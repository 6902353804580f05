package envoy

import (
	"regexp"
	"slices"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Header hygiene in both directions. A header filter on the inner side cannot do it: without x-forwarded-proto or the
// cluster header the inner route would no longer be found, so removal there happens at the router, by name.

// internalPrefixes never survive from a client's request.
var internalPrefixes = []string{"x-tokenward-", "x-envoy-", "x-forwarded-"}

// misspelt are the same, and x-request-id, with a _ somewhere: nothing to Envoy, but many servers take it for a -.
const misspelt = "x_(?:tokenward|envoy|forwarded)[-_].*|" +
	"x-(?:tokenward|envoy|forwarded)_.*|x(?:_request[-_]|-request_)id"

// unwanted is an expression for what no provider may see of a client's headers: what is misspelt, and the listed names,
// alone or as the end of a longer one, spelled with - or _. Envoy tries every expression on every header: one costs 25
// µs of CPU per attempt less than the seventeen that would keep to Envoy's usual bound (mostSteps).
func unwanted(names []string) string {
	spelled := make([]string, 0, len(names))
	for _, n := range slices.Sorted(slices.Values(names)) {
		if slices.ContainsFunc(names, func(end string) bool { return strings.HasSuffix(n, "-"+end) }) {
			continue // its ending is listed
		}
		spelled = append(spelled, strings.ReplaceAll(regexp.QuoteMeta(n), "-", "[-_]"))
	}
	if len(spelled) == 0 {
		return misspelt
	}
	return misspelt + "|(?:.*[-_])?(?:" + strings.Join(spelled, "|") + ")"
}

// providerMustNotSee is removed after the inner route was chosen.
var providerMustNotSee = []string{
	"x-tokenward-cluster", "x-tokenward-id", "x-tokenward-route", "x-tokenward-tenant", "x-tokenward-client",
	"x-tokenward-san",
	"x-envoy-attempt-count", "x-envoy-external-address", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms",
	"x-envoy-original-path",
	"x-forwarded-proto", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-client-cert",
	"x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
	"x-b3-sampled", "x-b3-flags",
}

// providerMustNotSay is removed from a provider's answer before the service sees it. By name and at the route,
// because a filter would remove these headers from the service's own refusals too.
var providerMustNotSay = []string{
	"x-tokenward-retry", "x-tokenward-after", "x-tokenward-absent", "tokenward-reason", "tokenward-attempts",
}

// originHeaders of an answer speak for the whole host that it came from, which is the gateway for a browser, and not
// for the answer: sessions, other addresses, stored data, reports, promises of TLS.
var originHeaders = []string{
	"set-cookie", "set-cookie2", "alt-svc", "clear-site-data", "strict-transport-security", "public-key-pins",
	"nel", "report-to", "reporting-endpoints", "accept-ch", "origin-agent-cluster", "service-worker-allowed", "set-login",
}

// Hidden are the headers of answers that clients do not see unless a route reveals them: those that speak for a host,
// and those that say whose account served, which drivers know.
func Hidden(organisations []string) []string { return slices.Concat(originHeaders, organisations) }

// clientMustNotSee is removed on the way out; the prefixes x-tokenward- and x-envoy- go by a filter as well.
var clientMustNotSee = []string{
	"x-tokenward-retry", "x-tokenward-after", "x-tokenward-absent", "x-tokenward-status", "x-envoy-upstream-service-time",
}

// pagesMustNotBeTold is how a provider lets web pages read its answers (Fetch standard, CORS protocol): here the
// gateway says which. By name and at the route, because a filter would remove the gateway's own words too.
var pagesMustNotBeTold = []string{
	"access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods",
	"access-control-allow-headers", "access-control-expose-headers", "access-control-max-age",
	"access-control-allow-private-network", "access-control-allow-local-network",
}

func removePrefix(prefix string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{
		Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
			KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}},
		}},
	}
}

// removeMatching removes every header whose whole name matches the expression.
func removeMatching(expression string) *mutationv3.HeaderMutation {
	m := &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: regex(expression)}
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: m}}
}

func removeHeader(name string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}}
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

func exact(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

func regex(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: s}},
	}
}

// otherThan matches every text but the word, in any case: Envoy's expressions know no negation, and must be short.
func otherThan(word string) []*matcherv3.StringMatcher {
	out := []*matcherv3.StringMatcher{regex("(?i)" + word + ".+")}
	for i := range word {
		out = append(out, regex("(?i)"+word[:i]+"(?:[^"+word[i:i+1]+"].*)?"))
	}
	return out
}

func prefix(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: s}}
}

func suffix(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: s}}
}

func contains(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: s}}
}

func anyCase(m *matcherv3.StringMatcher) *matcherv3.StringMatcher {
	m.IgnoreCase = true
	return m
}
