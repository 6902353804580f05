package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// listenHTTP2 puts the front behind a server that speaks HTTP/2 alone. turnAway may end a grant's stream instead, by
// the number of the connection and the stream on it. It returns the server's certificate.
func (f *front) listenHTTP2(
	t *testing.T, connections *atomic.Int32, turnAway func(w *http2.Framer, connection int32, stream uint32) bool,
) (ca string) {
	t.Helper()
	lent := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	lent.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0",
		&tls.Config{Certificates: lent.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	accept(t, l, func(c net.Conn) {
		n := connections.Add(1)
		f.serveHTTP2(c, func(w *http2.Framer, stream uint32) bool { return turnAway(w, n, stream) })
	})
	f.url = "https://" + l.Addr().String() + "/token"
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lent.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	return ca
}

func (f *front) serveHTTP2(c net.Conn, turnAway func(w *http2.Framer, stream uint32) bool) {
	defer func() { _ = c.Close() }()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	w := http2.NewFramer(c, c)
	_ = w.WriteSettings()
	var grant []byte
	for {
		frame, err := w.ReadFrame()
		if err != nil {
			return
		}
		d, ok := frame.(*http2.DataFrame)
		if !ok {
			continue
		}
		grant = append(grant, d.Data()...)
		if !d.StreamEnded() || turnAway(w, d.StreamID) {
			continue
		}
		_, body, status := f.redeem("application/json", grant)
		grant = nil
		var head bytes.Buffer
		_ = hpack.NewEncoder(&head).WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
		_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: d.StreamID, BlockFragment: head.Bytes(), EndHeaders: true})
		_ = w.WriteData(d.StreamID, true, []byte(body))
	}
}

func TestAGrantThatHTTP2SurelyTurnedAwayIsMadeAtOnceOnAFreshConnection(t *testing.T) {
	for name, c := range map[string]struct {
		turnAway    func(w *http2.Framer, connection int32, stream uint32) bool
		connections int32 // for two refreshes
	}{
		"every connection takes one grant": {func(w *http2.Framer, _ int32, stream uint32) bool {
			return stream > 1 && w.WriteGoAway(1, http2.ErrCodeNo, nil) == nil
		}, 2},
		"shutting down": {func(w *http2.Framer, connection int32, _ uint32) bool {
			return connection == 2 && w.WriteGoAway(0, http2.ErrCodeNo, nil) == nil
		}, 3},
		"no room": {func(w *http2.Framer, connection int32, stream uint32) bool {
			return connection == 2 && w.WriteRSTStream(stream, http2.ErrCodeRefusedStream) == nil
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(t)
			var connections atomic.Int32
			ca := f.listenHTTP2(t, &connections, c.turnAway)
			g := fronted(t, f, nil, func(yaml string) string {
				return strings.Replace(yaml, "driver: anthropic,", "driver: anthropic, ca_file: "+ca+",", 1)
			}, "a")
			for range 2 {
				if status, out := g.force(t, "a"); status != 200 {
					t.Errorf("status %d: %v", status, out)
				}
			}
			a := g.Provider.Account("a")
			if f.got("a") != 2 || a.Redemptions != 2 || a.Reuses != 0 || a.Dead {
				t.Errorf("%d grants arrived, %d redeemed, %d spent tokens presented", f.got("a"), a.Redemptions, a.Reuses)
			}
			expect(t, "connections", connections.Load(), c.connections)
			served(t, g.post(t, ""), "")
		})
	}
}

func TestAServerThatTurnsEveryGrantAwaySaysSoInPlainWords(t *testing.T) {
	f := newFront(t)
	var connections atomic.Int32
	ca := f.listenHTTP2(t, &connections,
		func(w *http2.Framer, _ int32, _ uint32) bool { return w.WriteGoAway(0, http2.ErrCodeNo, nil) == nil })
	g := fronted(t, f, nil, func(yaml string) string {
		return strings.Replace(yaml, "driver: anthropic,", "driver: anthropic, ca_file: "+ca+",", 1)
	}, "a")
	_, out := g.force(t, "a")
	expect(t, "class", out["class"], any("not_sent"))
	if e, _ := out["detail"].(string); !strings.Contains(e, "turned the request away unread") ||
		strings.Contains(e, "http2:") {
		t.Errorf("error %q", e)
	}
	eventually(t, 3*time.Second, "the account says so too", func() bool {
		return strings.Contains(g.text(t, "a", "reason"), "turned the request away unread")
	})
	expect(t, "state", g.state(t, "a"), "active")
	served(t, g.post(t, ""), "")
	expect(t, "redemptions", g.Provider.Account("a").Redemptions, 0)
}
