package integration

import (
	"testing"
)

func TestAWebSocketIsCarriedOnTheRoutesThatAskForItAlone(t *testing.T) {
	g := startWith(t, func(o *Options) {
		o.Prefix = "/v1/"
		o.Route = "  sockets:\n    match: { prefix: /ws }\n    upstreams: [claude]\n    websocket: true"
	}, one)
	conn, err := g.upgrade(t, t.Name(), "")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	expect(t, "requests at the provider", len(g.attempted(t, t.Name())), 1)

	for _, path := range []string{"/v1/ws", "/ws"} {
		a := g.raw(t, "GET", "GET "+path+" HTTP/1.1\r\nHost: "+g.Opts.Gateway+"\r\nConnection: Upgrade\r\n"+
			"Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
			"x-test-id: "+path+"\r\n\r\n")
		if path == "/ws" {
			expect(t, "status where sockets are carried", a.Status, 101)
			continue
		}
		ownAnswer(t, a, 400, "bad_request")
		expect(t, "x-should-retry", a.Header.Get("x-should-retry"), "false")
		expect(t, "requests at the provider", len(g.attempted(t, path)), 0)
	}
	expect(t, "a plain request on the same route", g.post(t, "").Status, 200)
}
