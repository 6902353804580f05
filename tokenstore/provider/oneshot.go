package provider

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
)

// A grant travels on a connection of its own: one that was kept may die at any moment, and then nobody knows whether
// the grant was read. What HTTP/2 says surely of a request is heeded: net/http knows it, and tells it in words only.

// turnedAwayError says that the server has surely not processed the request (RFC 9113 sections 6.8 and 8.7).
type turnedAwayError struct{ cause error }

func (e *turnedAwayError) Error() string { return "the server turned the request away unread" }
func (e *turnedAwayError) Unwrap() error { return e.cause }

// oneShot makes one HTTP/2 request on a new connection and closes it.
type oneShot struct{ conn *tls.Conn }

// RoundTrip implements http.RoundTripper.
func (o oneShot) RoundTrip(req *http.Request) (*http.Response, error) {
	frames := &frames{Conn: o.conn}
	//nolint:staticcheck // its successor takes no connection of ours
	c, err := (&http2.Transport{MaxHeaderListSize: maxAnswer}).NewClientConn(frames)
	if err != nil {
		_ = o.conn.Close() // the first error tells more
		return nil, err
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		_ = c.Close() // likewise
		if frames.refused.Load() {
			err = &turnedAwayError{err}
		}
		return nil, err
	}
	resp.Body = &lastBody{ReadCloser: resp.Body, end: sync.OnceFunc(func() { _ = c.Close() })} // all was read
	return resp, nil
}

// lastBody ends its connection.
type lastBody struct {
	io.ReadCloser
	end func()
}

// Close implements io.Closer.
func (b *lastBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// frames watches what a server sends on a connection with one request, stream 1, for the two frames that prove that it
// was not processed: GOAWAY with a last stream before it, and RST_STREAM with REFUSED_STREAM.
type frames struct {
	*tls.Conn
	refused atomic.Bool
	head    []byte // of the frame under way: its header and up to 8 bytes more
	skip    int    // bytes of its payload that do not matter
}

const (
	frameHeader = 9
	frameReset  = 0x3
	frameGoAway = 0x7
)

// Read implements io.Reader. One goroutine reads a connection.
func (f *frames) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.watch(p[:n])
	return n, err
}

func (f *frames) watch(p []byte) {
	for len(p) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(p))
			f.skip, p = f.skip-n, p[n:]
			continue
		}
		f.head, p = append(f.head, p[0]), p[1:]
		if len(f.head) < frameHeader {
			continue
		}
		length, kind := int(f.head[0])<<16|int(f.head[1])<<8|int(f.head[2]), f.head[3]
		wanted := 0
		if kind == frameReset || kind == frameGoAway {
			wanted = min(length, 4)
		}
		if len(f.head) < frameHeader+wanted {
			continue
		}
		if wanted == 4 {
			f.judge(kind, binary.BigEndian.Uint32(f.head[5:]), binary.BigEndian.Uint32(f.head[frameHeader:]))
		}
		f.head, f.skip = f.head[:0], length-wanted
	}
}

func (f *frames) judge(kind byte, stream, value uint32) {
	switch {
	case kind == frameGoAway && value&(1<<31-1) == 0, // the last stream that it may have processed
		kind == frameReset && stream == 1 && http2.ErrCode(value) == http2.ErrCodeRefusedStream:
		f.refused.Store(true)
	}
}
