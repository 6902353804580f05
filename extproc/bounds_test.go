package extproc

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/net/http2"
)

// oneCaller is a listener with one connection, in memory.
type oneCaller struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *oneCaller) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneCaller) Close() error { close(l.closed); return nil }

func (l *oneCaller) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// called runs f as a peer of a server's, in a bubble.
func called(t *testing.T, f func(t *testing.T, peer net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Listen: "unix:memory"}
		s, err := New(cfg, NewSocket(cfg, zap.NewNop()), limitedStore(t), prometheus.NewRegistry(), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		mine, theirs := net.Pipe()
		l := &oneCaller{make(chan net.Conn, 1), make(chan struct{})}
		l.conn <- theirs
		s.open()
		s.serve(l)
		f(t, mine)
		_ = mine.Close()
		s.grpc.Stop()
		s.serving.Wait()
	})
}

// greet says who we are and reads the server's settings.
func greet(t *testing.T, peer net.Conn) (*http2.Framer, *http2.SettingsFrame) {
	t.Helper()
	f := http2.NewFramer(peer, peer)
	said := make(chan struct{})
	go func() {
		defer close(said)
		_, _ = io.WriteString(peer, http2.ClientPreface)
		_ = f.WriteSettings()
	}()
	frame, err := f.ReadFrame()
	<-said
	settings, ok := frame.(*http2.SettingsFrame)
	if err != nil || !ok {
		t.Fatalf("no settings: %v %v", frame, err)
	}
	return f, settings
}

func TestAPeerThatSaysNothingIsLeft(t *testing.T) {
	called(t, func(t *testing.T, peer net.Conn) {
		began := time.Now()
		_, _ = io.Copy(io.Discard, peer)
		if took := time.Since(began); took > connectWithin+time.Second {
			t.Errorf("after %s", took)
		}
	})
}

func TestAPeerThatIsGoneIsLeft(t *testing.T) {
	called(t, func(t *testing.T, peer net.Conn) {
		f, settings := greet(t, peer)
		if n, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || n != mostStreams {
			t.Errorf("it allows %d streams", n)
		}
		began := time.Now()
		for {
			if _, err := f.ReadFrame(); err != nil {
				break
			}
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("after %s", took)
		}
	})
}

// TestAnIdleEnvoyThatPingsIsKept: as the generated configuration tells it to.
func TestAnIdleEnvoyThatPingsIsKept(t *testing.T) {
	called(t, func(t *testing.T, peer net.Conn) {
		f, _ := greet(t, peer)
		var writing sync.Mutex
		ping := func(ack bool, data [8]byte) error {
			writing.Lock()
			defer writing.Unlock()
			return f.WritePing(ack, data)
		}
		done := make(chan error)
		go func() {
			for {
				frame, err := f.ReadFrame()
				if p, ok := frame.(*http2.PingFrame); ok && !p.IsAck() {
					err = ping(true, p.Data)
				}
				if _, away := frame.(*http2.GoAwayFrame); away || err != nil {
					done <- err
					return
				}
			}
		}()
		for range 40 {
			select {
			case err := <-done:
				t.Fatalf("its connection was ended: %v", err)
			case <-time.After(30 * time.Second):
			}
			if err := ping(false, [8]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		_ = peer.Close()
		<-done
	})
}
