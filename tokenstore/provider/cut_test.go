package provider

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// cutter reads one request per connection, writes the given bytes and hangs up.
func cutter(t *testing.T, answer string) (string, *atomic.Int32) {
	t.Helper()
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		requests.Add(1)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, answer)
		_ = c.Close()
	}))
	t.Cleanup(s.Close)
	return s.URL, &requests
}

func TestAnAnswerThatIsCutLeavesTheOutcomeUnknownAndIsNotRepeated(t *testing.T) {
	for name, answer := range map[string]string{
		"before the status": "",
		"in the headers":    "HTTP/1.1 200 OK\r\nContent-Le",
		"in the body":       "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + goodAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			at, requests := cutter(t, answer)
			_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: at}), fullRecord())
			if e == nil || e.Class != tokenstore.RefreshUnknown {
				t.Errorf("got %+v", e)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("the grant was sent %d times", n)
			}
		})
	}
}

// A connection that is kept may die under the next grant, which then may have been read or not.
func TestEachGrantHasAConnectionOfItsOwn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var grants atomic.Int32
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for first := true; ; first = false { // answers the first request, hangs up on the second
				r, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, r.Body)
				grants.Add(1)
				if !first {
					break
				}
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(goodAnswer), goodAnswer)
			}
			_ = c.Close()
		}
	}()
	d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: "http://" + l.Addr().String()})
	for range 2 {
		if _, e := redeem(t, d, fullRecord()); e != nil {
			t.Error(e)
		}
	}
	if n := grants.Load(); n != 2 {
		t.Errorf("two refreshes sent %d grants", n)
	}
	_ = l.Close()
	<-served
}

func TestATimeoutAfterTheRequestLeavesTheOutcomeUnknown(t *testing.T) {
	arrived := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(arrived)
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-arrived
		cancel(context.DeadlineExceeded)
	}()
	_, err := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL}).Refresh(ctx, fullRecord())
	var e *tokenstore.RefreshError
	if !errors.As(err, &e) || e.Class != tokenstore.RefreshUnknown {
		t.Errorf("got %v", err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the grant was sent to another host") }))
		s := httptest.NewServer(http.RedirectHandler(target.URL, status))
		_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL}), fullRecord())
		if e == nil || e.Class != tokenstore.RefreshMisconfigured || e.Status != status {
			t.Errorf("%d: got %+v", status, e)
		}
		s.Close()
		target.Close()
	}
}

func TestAHugeAnswerIsNotReadToItsEnd(t *testing.T) {
	const most = 64 << 20
	sent := make(chan int, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 64<<10))
		n := 0
		for ; n < most; n += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				break
			}
		}
		sent <- n
	}))
	defer s.Close()
	_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL}), fullRecord())
	if e == nil || e.Class != tokenstore.RefreshUnknown {
		t.Errorf("got %+v", e)
	}
	if n := <-sent; n >= most {
		t.Errorf("all %d bytes were read", n)
	}
}

// Over HTTP/2, net/http repeats what a server turned away, if it can rewind the body.
func TestNothingLetsTheTransportRewindAGrant(t *testing.T) {
	e, err := newEndpoint("idp", Settings{TokenURL: "https://idp.example/token"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := e.build(t.Context(), request{grant: "refresh_token", askGrant: askGrant{style: "params"}, record: fullRecord()})
	if err != nil {
		t.Fatal(err)
	}
	if req.GetBody != nil || req.Header.Get("Idempotency-Key") != "" || req.ContentLength <= 0 {
		t.Errorf("GetBody is set: %v; length %d; header %v", req.GetBody != nil, req.ContentLength, req.Header)
	}
}
