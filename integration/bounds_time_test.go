package integration

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

func newBody(size int) io.Reader { return bytes.NewReader(make([]byte, size)) }

// TestOnlyASilentClientIsTimedOut: a provider may think, and an answer or a conversation may last.
func TestOnlyASilentClientIsTimedOut(t *testing.T) {
	g := startWith(t, func(o *Options) { o.EnvoyKeys, o.Route = ", upload_timeout: 1s", "    websocket: true" }, one)
	began := time.Now()
	for name, request := range map[string]string{
		"a stalled body":         "content-length: 10\r\n\r\n{",
		"a stalled chunk":        "transfer-encoding: chunked\r\n\r\n5\r\n{",
		"a body without its end": "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
	} {
		a := g.raw(t, http.MethodPost, "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n"+request)
		if r := refused(t, a, 408, "timeout", "timeout_error"); r.Own.Reason != "timeout" {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	if took := time.Since(began); took < 2500*time.Millisecond || took > 20*time.Second {
		t.Errorf("three stalled uploads of a second each ended after %s", took)
	}
	a := g.post(t, "delay=2500ms")
	served(t, a, "")
	served(t, g.post(t, "events=3; pause=1s"), "events")

	c, err := g.upgrade(t, t.Name(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 3 {
		time.Sleep(700 * time.Millisecond)
		var back string
		if err := websocket.Message.Send(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(c, &back); err != nil || back != "hello" {
			t.Fatalf("the conversation ended: %q %v", back, err)
		}
	}
}

func TestConnectionsAboveTheBoundAreRefusedAndThoseThatSayNothingMakeRoom(t *testing.T) {
	g := startWith(t, func(o *Options) { o.EnvoyKeys = ", max_connections: 100" }, one)
	h := half(t, g.Opts.Gateway, "POST /v1/mess", 150)
	eventually(t, 5*time.Second, "50 are closed", func() bool { return h.ended.Load() >= 50 })
	expect(t, "answers to them", h.answered.Load(), 0)
	eventually(t, 15*time.Second, "the others have made room", func() bool {
		a, err := g.Post(t.Context(), t.Name(), "", newBody(10))
		return err == nil && a.Status == 200
	})
	eventually(t, 5*time.Second, "all are ended", func() bool { return h.ended.Load() == 150 })
	if n := h.answered.Load(); n < 90 || n > 100 { // the harness had a few
		t.Errorf("%d were told why they are ended", n)
	}
}
