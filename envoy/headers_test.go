package envoy

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"testing"

	mutationfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// TestNothingUnwantedPassesTheInnerSide: under no spelling and no vendor's prefix; what only looks like it, or is the
// outer side's own, stays.
func TestNothingUnwantedPassesTheInnerSide(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		early := &earlyv3.HeaderMutation{}
		unpack(t, b.inner.GetEarlyHeaderMutationExtensions()[0].GetTypedConfig(), early)
		var removed []*regexp.Regexp
		for _, m := range early.GetMutations() {
			removed = append(removed, regexp.MustCompile("^(?:"+m.GetRemoveOnMatch().GetKeyMatcher().GetSafeRegex().GetRegex()+")$"))
		}
		for name, gone := range map[string]bool{
			"authorization": true, "proxy-authorization": true, "x-authorization": true, "x-api-key": true, "x_api_key": true, "x-api_key": true,
			"api-key": true, "api_key": true, "x-goog-api-key": true, "xi-api-key": true, "cookie": true,
			"x_tokenward_cluster": true, "x_tokenward-cluster": true, "x-tokenward_cluster": true, "x_forwarded-for": true,
			"x-envoy_retry-on": true, "x_request_id": true, "x-request_id": true, "x_request-id": true,
			"x-tokenward-cluster": false, "x-forwarded-proto": false, "x-envoy-attempt-count": false, "x-request-id": false,
			"x_request_ids": false, "x_enjoy_it": false,
			"x-api-keys": false, "api-key-id": false, "apikey": false, "session_id": false, "x-authorizations": false, "idempotency-key": false,
		} {
			if got := slices.ContainsFunc(removed, func(r *regexp.Regexp) bool { return r.MatchString(name) }); got != gone {
				t.Errorf("%s: removed %t, want %t", name, got, gone)
			}
		}
	})
}

func TestNoTrailerOfAClientPassesTheOuterSide(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		scrub := &mutationfilterv3.HeaderMutation{}
		unpack(t, b.outer.GetHttpFilters()[len(b.outer.GetHttpFilters())-2].GetTypedConfig(), scrub)
		m := scrub.GetMutations().GetRequestTrailersMutations()
		if len(m) != 1 ||
			m[0].GetRemoveOnMatch().GetKeyMatcher().GetSafeRegex().GetRegex() != ".*" {
			t.Errorf("trailers pass: %v", m)
		}
	})
}

// TestTheExpressionHasRoomToGrow: Envoy refuses a whole configuration for one expression that has too many steps.
func TestTheExpressionHasRoomToGrow(t *testing.T) {
	var names []string
	for i := range 150 {
		names = append(names, fmt.Sprintf("%d-a-rather-long-name-of-a-header", i))
	}
	parsed, err := syntax.Parse(unwanted(names), syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(program.Inst); n > mostSteps {
		t.Errorf("150 names are %d steps", n)
	}
}

func TestEveryUpgradeButAWebSocketIsIgnored(t *testing.T) {
	for value, ignored := range map[string]bool{
		"websocket": false, "WebSocket": false, "WEBSOCKET": false,
		"": true, "w": true, "websocke": true, "websockets": true, "websocket, TLS/1.2": true, "TLS/1.2": true, "tls/1.0": true, "h2c": true, "HTTP/2.0": true, "wEb": true,
		"xwebsocket": true, " websocket": true, "IRC/6.9, RTA/x11": true,
	} {
		got := slices.ContainsFunc(otherThan("websocket"), func(m *matcherv3.StringMatcher) bool {
			return regexp.MustCompile("^(?:" + m.GetSafeRegex().GetRegex() + ")$").MatchString(value)
		})
		if got != ignored {
			t.Errorf("%q: ignored %t, want %t", value, got, ignored)
		}
	}
}

// TestOnlyAServiceThatWasWaitedForInVainEndsTheAttempts: 4 is DEADLINE_EXCEEDED.
func TestOnlyAServiceThatWasWaitedForInVainEndsTheAttempts(t *testing.T) {
	again := regexp.MustCompile("^(?:" + notWaited + ")$")
	for status, want := range map[string]bool{"4": false, "0": true, "1": true, "2": true, "13": true, "14": true, "-": true} {
		if again.MatchString(status) != want {
			t.Errorf("status %s: tried again %t, want %t", status, !want, want)
		}
	}
}
