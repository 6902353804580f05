package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// inMemory is a listener whose connections are pipes, so that time can be a bubble's.
type inMemory struct {
	arrive chan net.Conn
	closed chan struct{}
}

func newInMemory() *inMemory { return &inMemory{make(chan net.Conn), make(chan struct{})} }

func (l *inMemory) Accept() (net.Conn, error) {
	select {
	case c := <-l.arrive:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *inMemory) Close() error { close(l.closed); return nil }

func (l *inMemory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8980} }

// dial sends a request, as much of it as there is, and does not read.
func (l *inMemory) dial(t *testing.T, request string) net.Conn {
	t.Helper()
	mine, theirs := net.Pipe()
	l.arrive <- theirs
	_, _ = io.WriteString(mine, request)
	return mine
}

// gone waits until the other side closes, and returns the answer before that and how long it took.
func gone(c net.Conn) (answer string, took time.Duration) {
	began := time.Now()
	b, _ := io.ReadAll(c)
	return string(b), time.Since(began)
}

const head = " HTTP/1.1\r\nHost: localhost\r\n"

var granted = "Authorization: Bearer " + adminToken + "\r\n"

func TestWhatIsNotWholeInTimeIsEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		request string
		within  time.Duration
		status  string
	}{
		"nothing":                      {"", headWithin, ""},
		"half a line":                  {"POST /lo", headWithin, ""},
		"half a head":                  {"GET /metrics" + head + "x-ha", headWithin, ""},
		"half a body to sign in":       {"POST /login" + head + "Content-Length: 20\r\n\r\n{", requestWithin, "408"},
		"half a chunk":                 {"POST /login" + head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", requestWithin, "408"},
		"half a body of a call":        {"POST " + refreshPath + head + granted + "Content-Length: 20\r\n\r\n{", requestWithin, "408"},
		"half a body without a token":  {"POST " + refreshPath + head + "Content-Length: 20\r\n\r\n{", requestWithin, "401"},
		"half a body nobody asked for": {"GET /healthz" + head + "Content-Length: 20\r\n\r\n{", requestWithin, "200"},
		"half a body to nowhere":       {"PUT /nowhere" + head + "Content-Length: 20\r\n\r\n{", requestWithin, "4"},
		"no second request":            {"GET /healthz" + head + "\r\n", idleFor, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newInMemory()
				started(t, server(t, &fakeTokens{}, func(c *Config) { c.Bound = l }))
				answer, took := gone(l.dial(t, tt.request))
				if took > tt.within+time.Second { // one more second for what is in the air: net/http
					t.Errorf("ended after %s", took)
				}
				if !strings.HasPrefix(strings.TrimPrefix(answer, "HTTP/1.1 "), tt.status) {
					t.Errorf("answered %q", answer)
				}
			})
		})
	}
}

func TestAnAnswerThatNobodyReadsIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newInMemory()
		started(t, server(t, &fakeTokens{}, func(c *Config) { c.Bound = l }))
		c := l.dial(t, "GET /metrics"+head+"\r\n")
		time.Sleep(answerWithin + time.Second)
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it can still be read")
		}
	})
}

func TestACallThatWaitsGetsItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newInMemory()
		f := &fakeTokens{accounts: accountsNamed("5"), script: func(ctx context.Context, _ tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
			select {
			case <-time.After(90 * time.Second):
			case <-ctx.Done():
			}
			return tokenstore.RefreshResult{}, ctx.Err()
		}}
		started(t, server(t, f, func(c *Config) { c.Bound = l }))
		for path, body := range map[string]string{
			refreshPath + "?wait=4m": `{"action":"refresh-all"}`, refreshPath: `{"action":"refresh-single","accountId":"5"}`,
		} {
			c := l.dial(t, "POST "+path+head+granted+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(path, err)
			}
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", path, resp.Status)
			}
			_ = resp.Body.Close()
			_ = c.Close()
		}
	})
}

// TestACrowdDoesNotLockAnybodyOut: not a newcomer, and not a call that is under way.
func TestACrowdDoesNotLockAnybodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newInMemory()
		f := &fakeTokens{accounts: accountsNamed("5"), script: func(_ context.Context, _ tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
			time.Sleep(3 * time.Second)
			return tokenstore.RefreshResult{}, nil
		}}
		started(t, server(t, f, func(c *Config) { c.Bound = l }))
		const body = `{"action":"refresh-single","accountId":"5"}`
		call := l.dial(t, "POST "+refreshPath+head+granted+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
		synctest.Wait()
		var crowd []net.Conn
		for range mostConnections + 100 {
			crowd = append(crowd, l.dial(t, "POST /login"+head+"Content-Length: 20\r\n\r\n{"))
		}
		synctest.Wait()
		open := 0
		for _, c := range crowd {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				open++
			}
		}
		if open != mostConnections-1 {
			t.Errorf("%d of the crowd are connected, want %d beside the call", open, mostConnections-1)
		}
		probe, err := http.ReadResponse(bufio.NewReader(l.dial(t, "GET /healthz"+head+"Connection: close\r\n\r\n")), nil)
		if err != nil || probe.StatusCode != http.StatusOK {
			t.Errorf("a probe in the crowd: %v", err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(call), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("the call that was under way: %v", err)
		}
		for _, c := range append(crowd, call) {
			_ = c.Close()
		}
	})
}
