package provider

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// now is when the answers below came: 1795608000 in Unix time.
var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// lines makes headers of "name: value" lines.
func lines(text string) http.Header {
	h := http.Header{}
	for l := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(l), ": "); ok {
			h.Add(name, value)
		}
	}
	return h
}

// joined is what Envoy's message gives: lower-case names, repeated headers joined by a comma.
type joined struct{ http.Header }

func (j joined) Get(name string) string { return strings.Join(j.Values(name), ",") }

func TestEverySignalOfALimitIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		headers, body string
		want          time.Duration
		unsure        bool // the headers alone do not settle it
	}{
		"nothing":              {"", "", 0, true},
		"seconds":              {"retry-after: 30", "", 30 * time.Second, false},
		"fraction of a second": {"retry-after: 0.5", "", time.Second / 2, false},
		"a date":               {"retry-after: Wed, 25 Nov 2026 12:01:30 GMT", "", 90 * time.Second, false},
		"an instant":           {"retry-after: 1795608060", "", time.Minute, false},
		"twice":                {"retry-after: 30\nretry-after: 60", "", time.Minute, false},
		"milliseconds":         {"retry-after-ms: 1500\nretry-after: 2", "", 1500 * time.Millisecond, false},
		"milliseconds of 0":    {"retry-after-ms: 0\nretry-after: 2", "", 2 * time.Second, false},
		"Azure":                {"x-ms-retry-after-ms: 250", "", 250 * time.Millisecond, false},
		"Azure's buckets":      {"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 26\nx-ratelimit-remaining-tokens: 500", "", 26 * time.Second, false},

		"Anthropic's buckets": {"anthropic-ratelimit-requests-remaining: 0\nanthropic-ratelimit-requests-reset: 2026-11-25T12:02:00Z\n" +
			"anthropic-ratelimit-input-tokens-remaining: 0\nanthropic-ratelimit-input-tokens-reset: 2026-11-25T12:03:00Z\n" +
			"anthropic-ratelimit-tokens-remaining: 5000\nanthropic-ratelimit-tokens-reset: 2026-11-25T21:00:00Z", "", 3 * time.Minute, false},
		"a bucket that refills sooner": {"retry-after: 4\nanthropic-ratelimit-requests-remaining: 0\nanthropic-ratelimit-requests-reset: 2026-11-25T12:02:00Z", "", 4 * time.Second, false},
		"unified rejected":             {"anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-reset: 1795626000", "", 5 * time.Hour, false},
		"unified outlasts retry-after": {"retry-after: 5\nanthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-reset: 1795626000", "", 5 * time.Hour, false},
		"unified, the later window": {"anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-reset: 1795626000\nanthropic-ratelimit-unified-representative-claim: five_hour\n" +
			"anthropic-ratelimit-unified-5h-status: rejected\nanthropic-ratelimit-unified-5h-reset: 1795626000\n" +
			"anthropic-ratelimit-unified-7d-status: rejected\nanthropic-ratelimit-unified-7d-reset: 1795867200", "", 72 * time.Hour, false},
		"unified, the other window allowed": {"anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-reset: 1795626000\n" +
			"anthropic-ratelimit-unified-7d-status: allowed_warning\nanthropic-ratelimit-unified-7d-reset: 1795867200", "", 5 * time.Hour, false},
		"unified allowed":           {"anthropic-ratelimit-unified-status: allowed_warning\nanthropic-ratelimit-unified-reset: 1795626000", "", 0, true},
		"unified of unknown status": {"anthropic-ratelimit-unified-reset: 1795626000", "", 5 * time.Hour, true},

		"OpenAI's buckets":      {"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 6m0s\nx-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 20ms", "", 6 * time.Minute, false},
		"a bucket of days":      {"x-ratelimit-remaining-requests-day: 0\nx-ratelimit-reset-requests-day: 1d2h3.5s", "", 26*time.Hour + 3500*time.Millisecond, false},
		"a bucket in seconds":   {"x-ratelimit-remaining-tokens-minute: 0\nx-ratelimit-reset-tokens-minute: 11.382", "", 11382 * time.Millisecond, false},
		"a bucket with room":    {"x-ratelimit-remaining-requests: 7\nx-ratelimit-reset-requests: 6m0s", "", 0, true},
		"a bucket of no count":  {"x-ratelimit-reset-requests: 6m0s", "", 6 * time.Minute, true},
		"GitHub":                {"x-ratelimit-remaining: 0\nx-ratelimit-reset: 1795608090", "", 90 * time.Second, false},
		"in milliseconds":       {"x-ratelimit-remaining: 0\nx-ratelimit-reset: 1795608090000", "", 90 * time.Second, false},
		"IETF":                  {"ratelimit-remaining: 0\nratelimit-reset: 50", "", 50 * time.Second, false},
		"Copilot":               {"x-ratelimit-exceeded: global-usage\nx-ratelimit-user-retry-after: 465000", "", 465000 * time.Second, false},
		"Copilot's week":        {"x-usage-ratelimit-session: ent=0&rem=35.3&rst=2026-11-25T13:00:00Z\nx-usage-ratelimit-weekly: ent=0&rem=0.0&rst=2026-11-27T12:00:00Z", "", 48 * time.Hour, false},
		"Copilot with overage":  {"x-quota-snapshot-chat: ent=300&ovPerm=true&rem=0.0&rst=2026-11-27T12:00:00Z", "", 0, true},
		"Codex, one window":     {"x-codex-primary-used-percent: 100\nx-codex-primary-window-minutes: 300\nx-codex-primary-reset-after-seconds: 529498\nx-codex-secondary-used-percent: 41\nx-codex-secondary-reset-after-seconds: 600000", "", 529498 * time.Second, false},
		"Codex, both":           {"x-codex-primary-used-percent: 100\nx-codex-primary-reset-after-seconds: 60\nx-codex-secondary-used-percent: 101.5\nx-codex-secondary-reset-at: 1795611600", "", time.Hour, false},
		"Codex without a share": {"x-codex-primary-reset-after-seconds: 529498", "", 529498 * time.Second, true},
		"Codex not used up":     {"x-codex-primary-used-percent: 99\nx-codex-primary-reset-after-seconds: 529498", "", 0, true},

		"usage limit":                         {"", `{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","resets_in_seconds":529498}}`, 529498 * time.Second, true},
		"usage limit, an instant":             {"", `{"error":{"type":"usage_limit_reached","plan_type":"plus","resets_at":1795611600}}`, time.Hour, true},
		"usage limit as text":                 {"", `{"error":{"type":"usage_limit_reached","resets_at":"2026-11-25T13:00:00Z","resets_in_seconds":"60"}}`, time.Hour, true},
		"usage limit at the top":              {"", `{"type":"usage_limit_reached","resets_in_seconds":60}`, time.Minute, true},
		"usage limit, later than retry-after": {"retry-after: 1", `{"error":{"type":"usage_limit_reached","resets_in_seconds":60}}`, time.Minute, false},
		"usage limit, and a vague header":     {"x-ratelimit-reset-tokens: 20ms", `{"error":{"resets_in_seconds":60}}`, time.Minute, true},
		"Google": {"", `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"x","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"PerDay"}]},
			{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.074824224s"}]}}`, 34074824224 * time.Nanosecond, true},
		"Google, for a stream":   {"", `[{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":{"seconds":"34","nanos":5}}]}}]`, 34 * time.Second, true},
		"Google's quota":         {"", `{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","metadata":{"quotaResetDelay":"1h16m0.5s","quotaResetTimeStamp":"2026-11-25T13:16:00Z"}}]}}`, 76*time.Minute + time.Second/2, true},
		"milliseconds in a body": {"", `{"error":{"retry_after_ms":1500}}`, 1500 * time.Millisecond, true},
		"words are no field":     {"", `{"error":{"message":"{\"resets_in_seconds\":60} Please try again in 6m0s"}}`, 0, true},
		"the client's own field": {"", `{"error":{"message":"x"},"request":{"error":{"resets_in_seconds":60}}}`, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := joined{lines(c.headers)}
			got, _ := resetIn(unwrap(tokenstore.Response{Status: 429, Header: h, Body: []byte(c.body), BodyRead: true}), now)
			if diff := got - min(c.want, longestWait); diff.Abs() > time.Microsecond {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if _, sure := resetIn(tokenstore.Response{Status: 429, Header: h}, now); sure == c.unsure {
				t.Errorf("settled by the headers: %v", sure)
			}
		})
	}
}

func TestAnAbsurdSignalIsNone(t *testing.T) {
	for _, value := range []string{
		"-1", "-1e300", "NaN", "Inf", "-Inf", "0", "", "soon", "1e", "0x", "1795600000", "1795600000000", "999999999999", "1e15", "1e300", "2026-11-25T11:59:59Z",
		"Wed, 25 Nov 2026 11:00:00 GMT", "-5s", "-1d", "1d-5h", "d", "{}", "null", "99999999999999999999h", ",", ",,-3",
	} {
		for _, name := range []string{
			"retry-after", "retry-after-ms", "x-ms-retry-after-ms", "anthropic-ratelimit-unified-reset", "anthropic-ratelimit-requests-reset", "x-ratelimit-reset",
			"x-ratelimit-reset-requests", "x-codex-primary-reset-after-seconds", "x-codex-secondary-reset-at",
		} {
			if strings.HasSuffix(name, "-ms") && value == "1795600000" {
				continue // 20 days of milliseconds
			}
			if got, _ := resetIn(tokenstore.Response{Header: joined{lines(name + ": " + value)}}, now); got != 0 {
				t.Errorf("%s: %s gives %s", name, value, got)
			}
		}
		for _, field := range []string{"resets_in_seconds", "resets_at", "retry_after"} {
			body := fmt.Appendf(nil, `{"error":{%q:%q}}`, field, value)
			if got, _ := resetIn(tokenstore.Response{Header: http.Header{}, Body: body}, now); got != 0 {
				t.Errorf("%s gives %s", body, got)
			}
		}
	}
	for _, far := range []string{"retry-after: 99999999", "retry-after: Fri, 31 Dec 9999 23:59:59 GMT", "x-codex-primary-reset-at: 99999999999", "x-ratelimit-reset: 9999-12-31T23:59:59Z", "x-ratelimit-reset-tokens: 20000d"} {
		if got, _ := resetIn(tokenstore.Response{Header: joined{lines(far)}}, now); got != longestWait {
			t.Errorf("%s gives %s", far, got)
		}
	}
}

// asking notes which headers are looked at.
type asking struct{ names *[]string }

func (a asking) Get(name string) string {
	*a.names = append(*a.names, name)
	return map[string]string{"anthropic-ratelimit-unified-status": "rejected"}[name]
}

func TestEveryHeaderThatIsReadIsForwarded(t *testing.T) {
	var read []string
	resetIn(tokenstore.Response{Header: asking{&read}}, now)
	names, prefixes := LimitHeaders()
	for _, name := range read {
		if !slices.Contains(names, name) && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			t.Errorf("%s is read, and Envoy does not show it", name)
		}
	}
	if len(read) < 40 {
		t.Errorf("%d headers are read", len(read))
	}
}
