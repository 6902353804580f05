package integration

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// saying is one row of a table of a provider's answers.
type saying struct {
	name   string
	answer string // | is a line's end, after END the provider ends the connection
	want   string // the client's status, body and headers, and how often the provider was asked
}

const ordinaryAnswer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

// startSayer is a provider that says exactly what the rows want, and goes on with the next request of the connection.
func startSayer(t *testing.T, rows []saying) *wire {
	t.Helper()
	answerTo := func(r *http.Request) string {
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/v1/row%d./", &n); err != nil {
			return ordinaryAnswer
		}
		return strings.ReplaceAll(rows[n].answer, "|", "\r\n")
	}
	var w *wire
	w = startWire(t, func(rw http.ResponseWriter, r *http.Request) {
		c, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		for {
			answer, ends := strings.CutSuffix(answerTo(r), "END")
			_, _ = io.WriteString(c, answer) // nobody may be there
			if ends {
				return
			}
			if r, err = http.ReadRequest(buffered.Reader); err != nil {
				return
			}
			w.note(r)
		}
	})
	return w
}

// usualAnswer are headers that may be there whatever the provider says.
var usualAnswer = []string{
	"Connection", "Content-Length", "Content-Type", "Date", "X-Request-Id", "X-Should-Retry",
	"Tokenward-Attempts", "Tokenward-Reason",
}

// hear asks for a row and puts together what came of it.
func (g *Gateway) hear(w *wire, row string) string {
	c, err := g.dial()
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET "+row+"/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
	a, err := nextAnswer(bufio.NewReader(c))
	if err != nil {
		return "no answer: " + err.Error()
	}
	said := fmt.Sprintf("%d", a.Status)
	if reason := a.Header.Get("tokenward-reason"); reason != "" {
		said += " " + reason
	} else {
		said += " " + a.Body
	}
	var names []string
	for name := range a.Header {
		if !slices.Contains(usualAnswer, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if n := len(w.of(row)); n != 1 {
		said += fmt.Sprintf(", asked %d times", n)
	}
	return strings.Join(append(strings.Fields(said), names...), " ")
}

// TestNoAnswerOfAProviderSteers: nor does one end the answers that other clients get, whose connection between the two
// listeners it shares.
func TestNoAnswerOfAProviderSteers(t *testing.T) {
	elsewhere := startWire(t, nil)
	const passes, broken = "200 {}", "502 upstream_failed"
	answer := func(name, answer, want string) saying { return saying{name, answer, want} }
	with := func(name, headers, want string) saying {
		return saying{name, "HTTP/1.1 200 OK|content-length: 2|" + headers + "||{}", want}
	}
	redirect := func(status string) saying {
		location := "content-length: 2|location: " + elsewhere.url + "/v1/x"
		return saying{status + " elsewhere", "HTTP/1.1 " + status + " See|" + location + "||{}", status + " {} Location"}
	}
	body := func(name, framing, body, want string) saying {
		return saying{name, "HTTP/1.1 200 OK|" + framing + "||" + body, want}
	}
	rows := []saying{
		with("an ordinary one", "x-vendor: kept", passes+" X-Vendor"),
		with("our marker", "x-tokenward-retry: 1", passes),
		with("our marker in capitals", "X-TOKENWARD-RETRY: 1", passes),
		with("our marker twice", "x-tokenward-retry: 0|x-tokenward-retry: 1", passes),
		with("our marker with a space", "x-tokenward-retry : 1", broken),
		with("our marker on a folded line", "x-vendor: a| x-tokenward-retry: 1", passes+" X-Vendor"),
		with("our marker behind half a line's end, LF", "x-vendor: a\nx-tokenward-retry: 1", passes+" X-Vendor"),
		with("our marker behind half a line's end, CR", "x-vendor: a\rx-tokenward-retry: 1", passes+" X-Vendor"),
		with("our marker as the connection's", "connection: x-tokenward-retry|x-tokenward-retry: 1", passes),
		with("our other words", "x-tokenward-status: 401|x-tokenward-absent: 1|x-tokenward-after: 1|"+
			"x-tokenward-cluster: backup|x-tokenward-whatever: 1", passes),
		with("our reason", "tokenward-reason: credentials_refused|tokenward-attempts: 9", passes),
		with("Envoy's words", "x-envoy-immediate-health-check-fail: true|x-envoy-degraded: true|x-envoy-ratelimited: true|"+
			"x-envoy-overloaded: true|x-envoy-upstream-canary: true|x-envoy-attempt-count: 9|x-envoy-whatever: 1", passes),
		with("a server's words", "x-accel-redirect: /v1/x|x-reproxy-url: "+elsewhere.url+"|refresh: 0; url="+elsewhere.url,
			passes+" Refresh X-Accel-Redirect X-Reproxy-Url"),
		answer("hints with our marker", "HTTP/1.1 103 Early Hints|x-tokenward-retry: 1|tokenward-reason: x||"+ordinaryAnswer,
			passes),
		answer("100 with our marker", "HTTP/1.1 100 Continue|x-tokenward-retry: 1||"+ordinaryAnswer, passes),
		body("our marker in trailers", "transfer-encoding: chunked|trailer: x-tokenward-retry",
			"2|{}|0|x-tokenward-retry: 1|tokenward-reason: x||", passes),
		redirect("300"), redirect("301"), redirect("302"), redirect("303"), redirect("307"), redirect("308"), redirect("403"),

		answer("a second answer", ordinaryAnswer+"HTTP/1.1 200 OK|content-length: 8||smuggled", passes),
		body("two lengths", "content-length: 2|content-length: 8", "{}smuggled", broken),
		body("a length below zero", "content-length: -2", "{}", broken),
		body("a length and chunks", "content-length: 2|transfer-encoding: chunked", "2|{}|0||", broken),
		body("an odd coding", "transfer-encoding: xchunked", "2|{}|0||", broken),
		body("two codings", "transfer-encoding: gzip, chunked", "2|{}|0||", broken),
		body("no chunk", "transfer-encoding: chunked", "zz|{}|0||", broken),
		body("no length", "x-vendor: kept", "{}END", passes+" X-Vendor"),
		body("too short", "content-length: 9", "{}END", broken),
		answer("an unasked upgrade", "HTTP/1.1 101 Go on|connection: upgrade|upgrade: websocket||smuggled", broken),
		answer("204 with a body", "HTTP/1.1 204 No Content|content-length: 2||{}", broken),
		answer("304 with a length", "HTTP/1.1 304 Not Modified|content-length: 2||", "304"),
		answer("HTTP/1.0", "HTTP/1.0 200 OK||{}END", passes),
		answer("another protocol", "220 smtp.example ESMTP|", broken),
		answer("status 0", "HTTP/1.1 000 No|content-length: 2||{}", broken),
		answer("status 99", "HTTP/1.1 99 No|content-length: 2||{}", broken),
		answer("status 999", "HTTP/1.1 999 No|content-length: 2||{}", "999 {}"),
		with("no colon", "nonsense", broken),
		with("a NUL", "a: b\x00c", broken),
		with("another control character", "a: b\x01c", broken),
		with("a name that is none", "a(b: c", broken),
		with("a pseudo header", ":status: 500", broken),
		with("what HTTP/2 forbids", "te: gzip", broken),
		with("what belongs to a connection", "connection: upgrade|upgrade: h2,h2c|keep-alive: timeout=5|proxy-connection: x",
			passes),
		with("a large head", "a: "+strings.Repeat("b", 200_000), broken),
	}
	w := startSayer(t, rows)
	g := startWith(t, func(o *Options) { o.First, o.Prefix = w.url, "/v1/" }, one)
	end := g.bystanders(t, w)
	var playing sync.WaitGroup
	for i, r := range rows {
		playing.Go(func() {
			if heard := g.hear(w, fmt.Sprintf("/v1/row%d.", i)); heard != r.want {
				t.Errorf("%s:\n got %s\nwant %s", r.name, heard, r.want)
			}
			g.ordinary(t, r.name)
		})
	}
	playing.Wait()
	end()
	expect(t, "requests elsewhere", len(elsewhere.of("")), 0)
}
