package provider

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// now is when the answers in testdata/limits.txt came.
var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// lines makes headers of "name: value" lines. Like Envoy's messages it joins repeated ones by a comma.
func lines(text string) joined {
	h := http.Header{}
	for l := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(l), ": "); ok {
			h.Add(name, value)
		}
	}
	return joined{h}
}

type joined struct{ http.Header }

func (j joined) Get(name string) string { return strings.Join(j.Values(name), ",") }

func TestEverySignalOfALimitIsRead(t *testing.T) {
	file, err := os.ReadFile("testdata/limits.txt")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(file), "\n== ")[1:]
	if len(blocks) < 40 {
		t.Fatalf("testdata/limits.txt has %d answers", len(blocks))
	}
	for _, block := range blocks {
		name, rest, _ := strings.Cut(block, "\n")
		t.Run(name, func(t *testing.T) {
			want, rest, _ := strings.Cut(strings.TrimPrefix(rest, "want: "), "\n")
			text, unsure := strings.CutSuffix(want, ", unsure")
			wait, err := time.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			headers, body := rest, ""
			if i := strings.IndexAny(rest, "{["); i >= 0 {
				headers, body = rest[:i], rest[i:]
			}
			whole := tokenstore.Response{Status: 429, Header: lines(headers), Body: []byte(body), BodyRead: true}
			got, _ := plainDialect.limits.resetIn(unwrap(whole), now)
			if (got - wait).Abs() > time.Microsecond {
				t.Errorf("got %s, want %s", got, wait)
			}
			r := tokenstore.Response{Status: 429, Header: lines(headers)}
			if _, sure := plainDialect.limits.resetIn(r, now); sure == unsure {
				t.Errorf("settled by the headers: %v", sure)
			}
		})
	}
}

func TestAnAbsurdSignalIsNone(t *testing.T) {
	for _, value := range []string{
		"-1", "-1e300", "NaN", "Inf", "-Inf", "0", "", "soon", "1e", "0x", "1795600000", "1795600000000", "999999999999",
		"1e15", "1e300", "2026-11-25T11:59:59Z",
		"Wed, 25 Nov 2026 11:00:00 GMT", "-5s", "-1d", "1d-5h", "d", "{}", "null", "99999999999999999999h", ",", ",,-3",
	} {
		for _, name := range []string{
			"retry-after", "retry-after-ms", "x-ms-retry-after-ms", "anthropic-ratelimit-unified-reset",
			"anthropic-ratelimit-requests-reset", "x-ratelimit-reset", "x-ratelimit-reset-requests",
			"x-codex-primary-reset-after-seconds", "x-codex-secondary-reset-at",
		} {
			if strings.HasSuffix(name, "-ms") && value == "1795600000" {
				continue // 20 days of milliseconds
			}
			if got, _ := plainDialect.limits.resetIn(tokenstore.Response{Header: lines(name + ": " + value)}, now); got != 0 {
				t.Errorf("%s: %s gives %s", name, value, got)
			}
		}
		for _, field := range []string{"resets_in_seconds", "resets_at", "retry_after"} {
			body := fmt.Appendf(nil, `{"error":{%q:%q}}`, field, value)
			if got, _ := plainDialect.limits.resetIn(tokenstore.Response{Header: http.Header{}, Body: body}, now); got != 0 {
				t.Errorf("%s gives %s", body, got)
			}
		}
	}
	for _, far := range []string{
		"retry-after: 99999999", "retry-after: Fri, 31 Dec 9999 23:59:59 GMT", "x-codex-primary-reset-at: 99999999999",
		"x-ratelimit-reset: 9999-12-31T23:59:59Z", "x-ratelimit-reset-tokens: 20000d",
	} {
		if got, _ := plainDialect.limits.resetIn(tokenstore.Response{Header: lines(far)}, now); got != longestWait {
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

func TestEveryHeaderThatADriverReadsIsShownToIt(t *testing.T) {
	for _, spec := range Specs {
		d := mustDriver(t, Settings{Driver: spec.Name})
		var read []string
		d.Classify(tokenstore.Response{Status: 429, Header: asking{&read}})
		d.Room(asking{&read})
		for _, name := range read {
			if name == "www-authenticate" || name == "content-type" {
				continue // Envoy shows them for the service itself
			}
			shown := func(h string) bool {
				family, all := strings.CutSuffix(h, "*")
				return h == name || all && strings.HasPrefix(name, family)
			}
			if !slices.ContainsFunc(spec.Shows, shown) {
				t.Errorf("%s: %s is read, and Envoy does not show it", spec.Name, name)
			}
		}
		if len(read) < 40 {
			t.Errorf("%s: %d headers are read", spec.Name, len(read))
		}
	}
}
