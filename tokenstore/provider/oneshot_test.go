package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tokenward/tokenward/tokenstore"
)

// h2Server is a token endpoint that speaks HTTP/2 alone. on answers the grants, with the number of the connection and
// of the grant on it, from 1; false hangs up.
type h2Server struct {
	url, ca     string
	connections atomic.Int32
}

func newH2Server(t *testing.T, on func(f *http2.Framer, connection int32, stream uint32) bool) *h2Server {
	t.Helper()
	lent := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	lent.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: lent.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &h2Server{url: "https://" + l.Addr().String() + "/token", ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lent.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := s.connections.Add(1)
			s.serve(c, func(f *http2.Framer, stream uint32) bool { return on(f, n, stream) })
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-served
	})
	return s
}

func (s *h2Server) serve(c net.Conn, on func(f *http2.Framer, stream uint32) bool) {
	defer func() { _ = c.Close() }()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	if f.WriteSettings() != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if d, ok := frame.(*http2.DataFrame); ok && d.StreamEnded() && !on(f, d.StreamID) {
			return
		}
	}
}

func grant(f *http2.Framer, stream uint32) bool {
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	return f.WriteData(stream, true, []byte(goodAnswer)) == nil
}

func (s *h2Server) driver(t *testing.T) tokenstore.Driver {
	t.Helper()
	return mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.url, CAFile: s.ca})
}

func TestWhatHTTP2SurelyDidNotProcessIsTriedAgainAtOnce(t *testing.T) {
	for name, turnAway := range map[string]func(f *http2.Framer, stream uint32) error{
		"GOAWAY": func(f *http2.Framer, _ uint32) error { return f.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"GOAWAY with an error": func(f *http2.Framer, _ uint32) error {
			return f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("calm"))
		},
		"REFUSED_STREAM": func(f *http2.Framer, stream uint32) error {
			return f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		},
		"REFUSED_STREAM after other frames": func(f *http2.Framer, stream uint32) error {
			_ = f.WritePing(false, [8]byte{1, 2, 3})
			_ = f.WriteWindowUpdate(0, 1)
			return f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var redeemed atomic.Int32
			s := newH2Server(t, func(f *http2.Framer, connection int32, stream uint32) bool {
				if connection == 1 {
					return turnAway(f, stream) == nil
				}
				redeemed.Add(1)
				return grant(f, stream)
			})
			if _, e := redeem(t, s.driver(t), fullRecord()); e != nil {
				t.Error(e)
			}
			if redeemed.Load() != 1 || s.connections.Load() != 2 {
				t.Errorf("%d redemptions on %d connections", redeemed.Load(), s.connections.Load())
			}
		})
		t.Run(name+" again and again", func(t *testing.T) {
			s := newH2Server(t, func(f *http2.Framer, _ int32, stream uint32) bool { return turnAway(f, stream) == nil })
			_, e := redeem(t, s.driver(t), fullRecord())
			if e == nil || e.Class != tokenstore.RefreshNotSent ||
				!strings.Contains(e.Message, "turned the request away unread") {
				t.Errorf("got %+v", e)
			}
			if n := s.connections.Load(); n != 2 {
				t.Errorf("%d tries", n)
			}
		})
	}
}

func TestWhatHTTP2MayHaveProcessedIsOfUnknownOutcomeAndNotRepeated(t *testing.T) {
	for name, end := range map[string]func(f *http2.Framer, stream uint32) bool{
		"hung up": func(*http2.Framer, uint32) bool { return false },
		"GOAWAY that counts it": func(f *http2.Framer, stream uint32) bool {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
			return false
		},
		"INTERNAL_ERROR": func(f *http2.Framer, stream uint32) bool {
			return f.WriteRSTStream(stream, http2.ErrCodeInternal) == nil
		},
		"PROTOCOL_ERROR": func(f *http2.Framer, stream uint32) bool {
			return f.WriteRSTStream(stream, http2.ErrCodeProtocol) == nil
		},
		"CANCEL": func(f *http2.Framer, stream uint32) bool {
			return f.WriteRSTStream(stream, http2.ErrCodeCancel) == nil
		},
		"another stream refused": func(f *http2.Framer, _ uint32) bool {
			_ = f.WriteRSTStream(3, http2.ErrCodeRefusedStream)
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newH2Server(t, func(f *http2.Framer, _ int32, stream uint32) bool { return end(f, stream) })
			_, e := redeem(t, s.driver(t), fullRecord())
			if e == nil || e.Class != tokenstore.RefreshUnknown || e.Message == "" || strings.Contains(e.Message, "http2:") ||
				strings.Contains(e.Message, "EOF") {
				t.Errorf("got %+v", e)
			}
			if n := s.connections.Load(); n != 1 {
				t.Errorf("%d tries", n)
			}
		})
	}
}

func TestAnHTTP2AnswerThatStallsEndsWithTheDeadline(t *testing.T) {
	s := newH2Server(t, func(f *http2.Framer, _ int32, stream uint32) bool {
		var head bytes.Buffer
		_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
		return f.WriteData(stream, false, []byte(goodAnswer[:9])) == nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := s.driver(t).Refresh(ctx, fullRecord())
	var e *tokenstore.RefreshError
	if !errors.As(err, &e) || e.Class != tokenstore.RefreshUnknown || !strings.Contains(e.Message, "no answer in time") {
		t.Errorf("got %v", err)
	}
}

// The server of the issue: it serves one grant of a connection and says so when it meets the next one.
func TestAServerThatServesOneGrantPerConnectionGetsEachOnce(t *testing.T) {
	var redeemed atomic.Int32
	s := newH2Server(t, func(f *http2.Framer, _ int32, stream uint32) bool {
		if stream > 1 {
			return f.WriteGoAway(1, http2.ErrCodeNo, nil) == nil
		}
		redeemed.Add(1)
		return grant(f, stream)
	})
	d := s.driver(t)
	for range 3 {
		if _, e := redeem(t, d, fullRecord()); e != nil {
			t.Error(e)
		}
	}
	if redeemed.Load() != 3 || s.connections.Load() != 3 {
		t.Errorf("%d redemptions on %d connections", redeemed.Load(), s.connections.Load())
	}
}

func TestAnEndpointOfEitherProtocolIsServedAndItsConnectionClosed(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		var open, protocol atomic.Int32
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protocol.Store(int32(r.ProtoMajor))
			_, _ = io.WriteString(w, goodAnswer)
		}))
		s.EnableHTTP2 = h2
		closed := make(chan struct{}, 10)
		s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
				closed <- struct{}{}
			case http.StateActive, http.StateIdle, http.StateHijacked:
			}
		}
		s.StartTLS()
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL, CAFile: file})
		if _, e := redeem(t, d, fullRecord()); e != nil {
			t.Error(e)
		}
		<-closed
		if want := map[bool]int32{false: 1, true: 2}[h2]; protocol.Load() != want || open.Load() != 0 {
			t.Errorf("HTTP/%d, %d connections are open", protocol.Load(), open.Load())
		}
		s.Close()
	}
}

func TestTheFrameWatchKeepsStepHoweverTheBytesArrive(t *testing.T) {
	var wire bytes.Buffer
	w := http2.NewFramer(&wire, nil)
	_ = w.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
	// looks like frames
	_ = w.WriteData(1, false, bytes.Repeat([]byte{0, 0, 4, frameReset, 0, 0, 0, 0, 1, 0, 0, 0, 7}, 100))
	_ = w.WriteGoAway(1, http2.ErrCodeNo, bytes.Repeat([]byte("debug"), 100))
	harmless := wire.Len()
	_ = w.WriteGoAway(0, http2.ErrCodeNo, bytes.Repeat([]byte("debug"), 100))
	for size := 1; size < 40; size++ {
		f := &frames{}
		for at := 0; at < wire.Len(); at += size {
			f.watch(wire.Bytes()[at:min(at+size, wire.Len())])
			if at+size <= harmless && f.refused.Load() {
				t.Fatalf("in pieces of %d: refused by byte %d", size, at)
			}
		}
		if !f.refused.Load() {
			t.Errorf("in pieces of %d: the last frame was missed", size)
		}
	}
}
