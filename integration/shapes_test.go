package integration

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

const disabled = `{"type":"error","error":{"type":"invalid_request_error",
	"message":"This organization has been disabled."}}`

// two are accounts of one pool.
var two = map[string]string{"claude-1": "claude", "claude-2": "claude"}

// shapes are the ways in which an error may come that must not matter.
var shapes = map[string]provider.Shape{
	"plain":           {},
	"gzip":            {Codings: []string{"gzip"}},
	"br":              {Codings: []string{"br"}},
	"zstd":            {Codings: []string{"zstd"}},
	"deflate":         {Codings: []string{"deflate"}},
	"raw deflate":     {Codings: []string{"raw"}},
	"stacked":         {Codings: []string{"gzip", "br"}},
	"chunked":         {Chunked: true},
	"chunked gzip":    {Chunked: true, Codings: []string{"gzip"}},
	"chunked br":      {Chunked: true, Codings: []string{"br"}},
	"chunked zstd":    {Chunked: true, Codings: []string{"zstd"}},
	"chunked deflate": {Chunked: true, Codings: []string{"deflate"}},
	"until the end":   {Close: true, Chunked: true},
	"with a trailer":  {Chunked: true, Trailer: true},
	"60 KiB":          {Pad: 60 << 10},
	"60 KiB chunked":  {Pad: 60 << 10, Chunked: true},
	"60 KiB of gzip":  {Pad: 60 << 10, Codings: []string{"gzip"}, Chunked: true},
	"byte by byte":    {Chunked: true, Pace: 2 * time.Millisecond},
}

func TestAnErrorIsReadInEveryShape(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for name, shape := range shapes {
			t.Run(map[bool]string{false: "http1 ", true: "http2 "}[h2]+name, func(t *testing.T) {
				t.Parallel()
				g := startWith(t, func(o *Options) { o.HTTP2 = h2 }, two)
				g.Provider.Script("claude-1", provider.Script{Status: 400, Body: disabled, Shape: shape})
				refusals := 0
				for range 6 {
					a, _ := g.rawAnswer(t, http.MethodPost, "gzip, deflate, br, zstd")
					if a.Status != 200 {
						refusals++
					}
				}
				if seen := len(g.attempted(t, t.Name())); seen < 7 || refusals > 0 {
					t.Errorf("%d of 6 requests failed, with %d attempts", refusals, seen)
				}
				for _, reason := range []string{"too_large", "timeout", "encoding", "cut"} {
					expect(t, "unread: "+reason, g.unread(t, reason), 0)
				}
			})
		}
	}
}

// raw sends a request with an accept-encoding of its own, and returns the answer as it came over the wire. Its error is
// that of the body.
func (g *Gateway) rawAnswer(t *testing.T, method, accept string) (Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, g.URL+"/v1/messages", strings.NewReader(`{"model":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-test-id", t.Name())
	if accept != "" {
		req.Header.Set("Accept-Encoding", accept)
	}
	a, err := Do(&http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}, req)
	if err != nil && a.Status == 0 {
		t.Fatal(err)
	}
	return a, err
}

// The error comes while the client still sends; the next account must get the whole request.
func TestAnEarlyErrorOfUnknownLengthIsReadAndTheUploadRepeated(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "http1", true: "http2"}[h2], func(t *testing.T) {
			g := startWith(t, func(o *Options) { o.HTTP2 = h2 }, two)
			shape := provider.Shape{Chunked: true, Codings: []string{"br"}}
			g.Provider.Script("claude-1", provider.Script{Status: 400, Body: disabled, Shape: shape})
			upload := strings.Repeat("0123456789", 200<<10)
			for range 4 {
				a, err := g.Post(t.Context(), t.Name(), "early", strings.NewReader(upload))
				if err != nil {
					t.Fatal(err)
				}
				served(t, a, "")
				if !strings.Contains(a.Body, `"body_length":2048000`) {
					t.Errorf("not the whole request: %s", a.Body)
				}
			}
		})
	}
}

func TestAProviderIsAskedForWhatCanBeRead(t *testing.T) {
	g := startWith(t, nil, one)
	for asked, want := range map[string]string{
		"gzip, br;q=0.5":         "gzip, br;q=0.5",
		"zstd, dcz, dcb, br":     "zstd, br",
		"compress":               "identity",
		"compress, identity;q=0": "compress, identity;q=0",
		"*":                      "gzip",
		"dcz|gzip":               "gzip", // in two lines
		"":                       "",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(asked, "|") {
			if line != "" {
				req.Header.Add("Accept-Encoding", line)
			}
		}
		if _, err := Do(&http.Client{Transport: &http.Transport{DisableCompression: true}}, req); err != nil {
			t.Fatal(err)
		}
		seen := g.Provider.Seen("")
		expect(t, asked, strings.Join(seen[len(seen)-1].Headers["Accept-Encoding"], "|"), want)
	}
}
