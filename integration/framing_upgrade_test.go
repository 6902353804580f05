package integration

import (
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startDoor is a provider that answers an upgrade with the status at the path's end.
func startDoor(t *testing.T) *wire {
	t.Helper()
	return startWire(t, func(rw http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(path.Base(r.URL.Path))
		switch {
		case err != nil:
			status = http.StatusOK
		case status == http.StatusSwitchingProtocols:
			c, buffered, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
			_, _ = io.Copy(io.Discard, buffered)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, `{"type":"error","error":{"type":"invalid_request_error","message":"no sockets"}}`)
	})
}

const handshake = "HOST|connection: upgrade|upgrade: websocket|sec-websocket-version: 13|" +
	"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==|"

// TestNoUpgradeThatIsRefusedOpensATunnel: a client that goes on as if its WebSocket were open reaches nobody.
func TestNoUpgradeThatIsRefusedOpensATunnel(t *testing.T) {
	w := startDoor(t)
	g := startWith(t, func(o *Options) {
		o.First, o.Prefix = w.url, "/v1/"
		o.Route = "    websocket: true\n    escaped_slashes: keep"
	}, one)
	const refused = "400 bad_request, ended"
	upgrade := func(status, want string) attempt {
		return attempt{"one that gets " + status, "GET ROW/" + status + " HTTP/1.1|" + handshake + "|SMUGGLED", want}
	}
	open := func(name, line, more, want string) attempt {
		return attempt{name, line + " HTTP/1.1|" + handshake + more, want}
	}
	g.all(t, w, []attempt{
		upgrade("426", "426, ended: GET /426"),
		upgrade("400", "400, ended: GET /400"),
		upgrade("403", "403, ended: GET /403"),
		upgrade("404", "404, ended: GET /404"),
		upgrade("500", "500, ended: GET /500"),
		upgrade("302", "302, ended: GET /302"),
		upgrade("201", "201, ended: GET /201"),
		upgrade("204", "204, ended: GET /204"),
		upgrade("200", "101, ended: GET /200"), // Envoy takes it for an HTTP/2 server's yes, and then ends it
		open("a length of none", "GET ROW/426", "content-length: 0||SMUGGLED", "426, ended: GET /426"),
		open("a body", "GET ROW/426", "content-length: LENGTH||SMUGGLED", refused),
		open("a body in chunks", "GET ROW/426", "transfer-encoding: chunked||0||SMUGGLED", // which Envoy leaves out
			"426, ended: GET /426"),
		open("another method", "POST ROW/426", "|SMUGGLED", refused),
		open("another method and a body", "POST ROW/426", "content-length: LENGTH||SMUGGLED", refused),
		open("another method by a header", "GET ROW/426", "x-http-method-override: POST||SMUGGLED", "426, ended: GET /426"),
		open("HTTP/1.0", "GET ROW/426", "connection: close||SMUGGLED", "426, ended: GET /426"),
		open("a path that leads elsewhere", "GET ROW/..%2Fx", "|SMUGGLED", refused),
		open("no route", "GET /elsewhere", "|SMUGGLED", "404 unknown_route, ended"),
		{
			"two protocols", "GET ROW/426 HTTP/1.1|HOST|connection: upgrade|upgrade: websocket, h2c||SMUGGLED",
			"426, ended: GET /426",
		},
	})

	fill := strings.NewReplacer("HOST", "host: localhost", "|", "\r\n")
	a := g.raw(t, http.MethodGet, fill.Replace("GET /v1/..%2Fx HTTP/1.1|"+handshake+"|"))
	if !strings.Contains(a.Body, "a path without escaped slashes") {
		t.Errorf("the refusal does not say what is wrong: %s", a.Body)
	}
	a = g.raw(t, http.MethodGet, fill.Replace("GET /v1/101 HTTP/1.1|"+handshake+"|carried"))
	expect(t, "status of an upgrade that is taken", a.Status, 101)
	eventually(t, 5*time.Second, "the bytes after it reach the provider", func() bool {
		return strings.Contains(w.bytes(), "carried")
	})
}
