package provider

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// How long a provider wants an account to stay away. Of several signals count, in this order:
//
//  1. what the server asks for outright (Retry-After and its like, in headers or body), and usage windows that are said to
//     be used up, which do not refill before their reset: the latest of them;
//  2. buckets that are said to be empty: the latest reset. They refill all the time, so that what the server asks for
//     outright is shorter, and better;
//  3. windows and buckets of which only the reset is told.
//
// What is negative, not a number, past, or no instant that a limit could mean is no signal. Nothing exceeds
// longestWait.

// asked are the headers in which a server asks outright, the most exact first.
var asked = []struct {
	name string
	unit time.Duration
}{
	{"retry-after-ms", time.Millisecond},                    // OpenAI, Azure
	{"x-ms-retry-after-ms", time.Millisecond},               // Azure
	{"retry-after", time.Second},                            // RFC 9110 section 10.2.3
	{"x-ratelimit-user-retry-after", time.Second},           // Copilot
	{"x-ratelimit-quota-exceeded-retry-after", time.Second}, // Copilot
}

// buckets are pairs of headers that tell what is left of a limit, and when it is whole again.
var buckets = func() [][2]string {
	out := [][2]string{
		{"x-ratelimit-remaining", "x-ratelimit-reset"}, // GitHub, OpenRouter
		{"x-rate-limit-remaining", "x-rate-limit-reset"},
		{"ratelimit-remaining", "ratelimit-reset"}, // IETF httpapi
	}
	for _, l := range []string{"requests", "tokens", "input-tokens", "output-tokens"} { // Anthropic
		out = append(out, [2]string{"anthropic-ratelimit-" + l + "-remaining", "anthropic-ratelimit-" + l + "-reset"})
	}
	for _, l := range []string{ // OpenAI, Azure, and those who speak their API
		"requests", "tokens", "input-tokens", "output-tokens", "project-tokens",
		"requests-minute", "requests-hour", "requests-day", "tokens-minute", "tokens-hour", "tokens-day",
	} {
		out = append(out, [2]string{"x-ratelimit-remaining-" + l, "x-ratelimit-reset-" + l})
	}
	return out
}()

// quotas are Copilot's windows: "ent=300&ovPerm=false&rem=0.0&rst=2026-01-01T00:00:00Z".
var quotas = []string{
	"x-usage-ratelimit-session", "x-usage-ratelimit-weekly",
	"x-quota-snapshot-chat", "x-quota-snapshot-completions",
	"x-quota-snapshot-premium_interactions", "x-quota-snapshot-premium_models",
}

// LimitHeaders lists the response headers that tell of limits, so that Envoy must show them to us. An * at the end stands
// for all that begin so.
func LimitHeaders() []string {
	return []string{
		"retry-after", "retry-after-ms", "x-ms-retry-after-ms", "anthropic-ratelimit-*", "x-ratelimit-*", "x-rate-limit-*",
		"ratelimit-*", "x-codex-*", "x-usage-ratelimit-*", "x-quota-snapshot-*",
	}
}

// resetIn is how long a rate limit lasts, from now; 0 when nothing says. sure: the body would not tell better.
func resetIn(resp tokenstore.Response, now time.Time) (wait time.Duration, sure bool) {
	s := signals{h: resp.Header, now: now}
	s.demand()
	s.unified()
	s.codex()
	s.quotas()
	s.buckets()
	s.body(resp.Body)
	for _, d := range []time.Duration{s.firm, s.empty} {
		if d > 0 {
			return min(d, longestWait), true
		}
	}
	return min(s.vague, longestWait), false
}

// demandIn is how long the server asks to stay away in a header, from now; 0 when it does not.
func demandIn(h tokenstore.HeaderGetter, now time.Time) time.Duration {
	s := signals{h: h, now: now}
	s.demand()
	return min(s.firm, longestWait)
}

// signals gathers the latest instants, by rank, as durations from now.
type signals struct {
	h                  tokenstore.HeaderGetter
	now                time.Time
	firm, empty, vague time.Duration
}

func (s *signals) demand() {
	for _, a := range asked {
		if d := s.header(a.name, func(v string) time.Duration { return span(v, a.unit, s.now) }); d > 0 {
			s.firm = max(s.firm, d)
			return
		}
	}
}

// unified reads Anthropic's subscription windows. While the whole is allowed, the refusal was for something else.
func (s *signals) unified() {
	const prefix = "anthropic-ratelimit-unified-"
	status := s.h.Get(prefix + "status")
	if strings.HasPrefix(status, "allowed") { // or allowed_warning
		return
	}
	reset := func(window string) time.Duration {
		return s.header(prefix+window+"reset", func(v string) time.Duration { return instant(v, s.now) })
	}
	s.window(status == "rejected", reset(""))
	for _, w := range []string{"5h-", "7d-"} {
		if s.h.Get(prefix+w+"status") == "rejected" {
			s.window(true, reset(w))
		}
	}
}

// codex reads the windows of OpenAI's Codex backend.
func (s *signals) codex() {
	for _, w := range []string{"x-codex-primary-", "x-codex-secondary-"} {
		d := s.header(w+"reset-after-seconds", func(v string) time.Duration { return span(v, time.Second, s.now) })
		if d == 0 {
			d = s.header(w+"reset-at", func(v string) time.Duration { return instant(v, s.now) })
		}
		used, err := strconv.ParseFloat(s.h.Get(w+"used-percent"), 64)
		if err != nil || used >= 100 {
			s.window(err == nil, d)
		}
	}
}

func (s *signals) quotas() {
	for _, name := range quotas {
		q, err := url.ParseQuery(s.h.Get(name))
		if left, known := number(q.Get("rem")); err == nil && known && left <= 0 && q.Get("ovPerm") != "true" {
			s.window(true, instant(q.Get("rst"), s.now))
		}
	}
}

func (s *signals) buckets() {
	for _, b := range buckets {
		d := s.header(b[1], func(v string) time.Duration { return span(v, time.Second, s.now) })
		switch left, known := number(s.h.Get(b[0])); {
		case !known:
			s.vague = max(s.vague, d)
		case left <= 0:
			s.empty = max(s.empty, d)
		}
	}
}

// window takes the reset of a usage window. used: it is said to be used up.
func (s *signals) window(used bool, d time.Duration) {
	if used {
		s.firm = max(s.firm, d)
	} else {
		s.vague = max(s.vague, d)
	}
}

// header reads a header, or the longest of its values when it came more than once.
func (s *signals) header(name string, read func(string) time.Duration) time.Duration {
	v := s.h.Get(name)
	if d := read(v); d > 0 || !strings.Contains(v, ",") {
		return d
	}
	var longest time.Duration
	for part := range strings.SplitSeq(v, ",") {
		longest = max(longest, read(strings.TrimSpace(part)))
	}
	return longest
}
