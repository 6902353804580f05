package integration

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

const usedUp = `{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached",
	"resets_in_seconds":529498}}`

// limits are answers to a used-up limit, each of which tells its reset in another place.
var limits = map[string]provider.Script{
	"usage limit in the body":           {Body: usedUp},
	"the body in br, of unknown length": {Body: usedUp, Shape: provider.Shape{Chunked: true, Codings: []string{"br"}}},
	"both": {
		Body:    usedUp,
		Headers: map[string]string{"x-codex-primary-reset-after-seconds": "529498"},
	},
	"Codex": {Body: `{"error":{"type":"usage_limit_reached"}}`, Headers: map[string]string{
		"x-codex-primary-used-percent": "100", "x-codex-primary-reset-after-seconds": "529498",
	}},
	"Google": {Body: `[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[
		{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3600s"}]}}]`},
	"OpenAI": {Body: "{}", Headers: map[string]string{
		"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s",
	}},
	"milliseconds": {Body: "{}", Headers: map[string]string{"retry-after-ms": "60000"}},
	"Azure":        {Body: "{}", Headers: map[string]string{"x-ms-retry-after-ms": "60000"}},
	"IETF":         {Body: "{}", Headers: map[string]string{"RateLimit-Remaining": "0", "RateLimit-Reset": "60"}},
	"Copilot": {
		Body:    "{}",
		Headers: map[string]string{"x-usage-ratelimit-weekly": "rem=0.0&rst=2999-01-01T00:00:00Z"},
	},
	"unified": {Body: "{}", Headers: map[string]string{
		"anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-7d-status": "rejected",
		"anthropic-ratelimit-unified-7d-reset": "32503680000",
	}},
}

// Strikes without a known reset would end after 1, 2 and 4 seconds.
func TestAUsedUpLimitCostsOne429(t *testing.T) {
	for name, limited := range limits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startWith(t, nil, two)
			limited.Status = 429
			g.Provider.Script("claude-1", limited)
			refusals := 0
			for range 8 {
				a, err := g.rawAnswer(t, "POST", "gzip, br")
				if err != nil {
					t.Fatal(err)
				}
				if a.Status != 200 {
					refusals++
				}
				time.Sleep(1200 * time.Millisecond)
			}
			expect(t, "429s to clients", refusals, 1)
			strikes := 0
			for _, s := range g.attempted(t, t.Name()) {
				if s.Account == "claude-1" {
					strikes++
				}
			}
			expect(t, "requests on the limited account", strikes, 1)
		})
	}
}
