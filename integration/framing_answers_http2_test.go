package integration

import (
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// startFramer is a provider that speaks HTTP/2: it holds the answers to /v1/held until release, and says to others what
// HTTP/2 forbids.
func startFramer(t *testing.T, release chan struct{}) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, func(c net.Conn) { serveFrames(c, release) })
	return "http://" + l.Addr().String()
}

func serveFrames(c net.Conn, release chan struct{}) {
	defer func() { _ = c.Close() }()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := &frames{Framer: http2.NewFramer(c, c), conn: c}
	f.enc = hpack.NewEncoder(&f.buf)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings() // what is lost shows in the answer
	requests, held := make(chan *http2.MetaHeadersFrame), []uint32(nil)
	go func() {
		defer close(requests)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.MetaHeadersFrame); ok {
				requests <- h
			}
		}
	}()
	for {
		select {
		case r, open := <-requests:
			switch {
			case !open:
				return
			case r.PseudoValue("path") == "/v1/held":
				f.headers(r.StreamID, ":status 200", false)
				_ = f.WriteData(r.StreamID, false, []byte("begun, "))
				held = append(held, r.StreamID)
			default:
				f.headers(r.StreamID, ":status 200|te gzip", true)
			}
		case <-release:
			release = nil
			for _, s := range held {
				_ = f.WriteData(s, true, []byte("ended"))
			}
		}
	}
}

// TestAnAnswerThatHTTP2ForbidsEndsNoOtherOnTheProvidersConnection: it carries those of many clients.
func TestAnAnswerThatHTTP2ForbidsEndsNoOtherOnTheProvidersConnection(t *testing.T) {
	w := &wire{release: make(chan struct{})}
	url := startFramer(t, w.release)
	g := startWith(t, func(o *Options) { o.First, o.Prefix, o.HTTP2 = url, "/v1/", true }, one)
	end := g.bystanders(t, w)
	for range 6 { // both workers
		ownAnswer(t, g.post(t, ""), 502, "upstream_failed")
	}
	end()
}
