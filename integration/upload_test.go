package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// slow is a body that takes its time.
type slow struct{ left int }

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(20 * time.Millisecond)
	return copy(p, strings.Repeat("x", 16<<10)), nil
}

// client speaks HTTP/1.1, or HTTP/2 by prior knowledge.
func client(t *testing.T, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: &http.Protocols{}}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// upload posts a body and returns the answer and the protocol it came over.
func (g *Gateway) upload(t *testing.T, c *http.Client, test, sim string, body io.Reader) (Answer, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-test-id", test)
	req.Header.Set("x-sim", sim)
	proto := ""
	tr := c.Transport
	a, err := Do(&http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := tr.RoundTrip(r)
		if err == nil {
			proto = resp.Proto
		}
		return resp, err
	})}, req)
	if err != nil {
		t.Fatal(err)
	}
	return a, proto
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestALargeBodyIsRetriedIntactAndOneAboveTheLimitIsSentOnce(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "from http1", true: "from http2"}[h2], func(t *testing.T) {
			each(t, func(o *Options) { o.Limit = "8MiB" }, three, func(t *testing.T, g *Gateway, sim string) {
				c, body := client(t, h2), strings.Repeat("0123456789abcdef", 5<<20/16)
				sum := sha256.Sum256([]byte(body))
				a, _ := g.upload(t, c, t.Name(), "status=401; "+sim, strings.NewReader(body))
				served(t, a, sim)
				seen := g.attempted(t, t.Name())
				expect(t, "requests at the provider", len(seen), 2)
				for _, s := range seen {
					expect(t, "length", s.BodyLength, len(body))
					expect(t, "sum", s.BodySum, hex.EncodeToString(sum[:]))
				}
				large := t.Name() + " large"
				a, _ = g.upload(t, c, large, "status=401; message=too much to keep; "+sim,
					strings.NewReader(strings.Repeat(body, 2)))
				expect(t, "status above the limit", a.Status, 401)
				if !strings.Contains(a.Body, "too much to keep") {
					t.Errorf("this is not the provider's answer: %s", a.Body)
				}
				seen = g.attempted(t, large)
				if len(seen) != 1 {
					t.Fatalf("requests at the provider above the limit: %d", len(seen))
				}
				expect(t, "length above the limit", seen[0].BodyLength, 2*len(body))
			})
		})
	}
}

func TestARefusalBeforeASlowUploadHasEndedIsRetried(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		for _, h2 := range []bool{false, true} {
			c, test := client(t, h2), t.Name()+map[bool]string{false: " from http1", true: " from http2"}[h2]
			a, proto := g.upload(t, c, test, "status=401; early; "+sim, &slow{left: 20})
			expect(t, "protocol of the client", proto, map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2])
			served(t, a, sim)
			seen := g.attempted(t, test)
			if len(seen) != 2 {
				t.Fatalf("requests at the provider: %d", len(seen))
			}
			expect(t, "status of the first", seen[0].Status, 401)
			expect(t, "what the first attempt's answer waited for", seen[0].BodyLength, 0)
			expect(t, "length of the body that was served", seen[1].BodyLength, 20*16<<10)
			served(t, g.post(t, sim), sim) // Envoy is alive
		}
	})
}
