package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// sink is a provider that keeps nothing of what it is sent.
func sink(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"account":"","length":%d}`, n)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// memory is the largest part of the machine's that the gateway's Envoy has had, in MiB.
func (g *Gateway) memory(t *testing.T) (most int) {
	t.Helper()
	self := fmt.Sprintf("/proc/%d", g.service.Process.Pid)
	tasks, err := os.ReadDir(self + "/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		children, _ := os.ReadFile(self + "/task/" + task.Name() + "/children")
		status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(children)) + "/status")
		for line := range strings.Lines(string(status)) {
			if _, found := fmt.Sscanf(line, "VmHWM: %d kB", &most); err == nil && found == nil {
				return most >> 10
			}
		}
	}
	t.Fatal("the service runs no Envoy")
	return 0
}

// manyFiles lets this process open so many; Envoy has a limit of its own.
func manyFiles(t *testing.T, n uint64) {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < n {
		t.Fatalf("%d files may be open (%v): run the tests with ulimit -n %d or more", files.Cur, err, n)
	}
}

// halves are connections with less than a whole request on each, until the test ends.
type halves struct {
	ended    atomic.Int32 // by the other side
	answered atomic.Int32 // of those, with an answer
}

func half(t *testing.T, address, request string, n int) *halves {
	t.Helper()
	h := &halves{}
	for range n {
		c, err := net.DialTimeout("tcp", address, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, request)
		go func() {
			if read, _ := io.Copy(io.Discard, c); read > 0 {
				h.answered.Add(1)
			}
			h.ended.Add(1)
		}()
	}
	return h
}

// stall posts a body but for its last byte, over HTTP/1.1, and returns the answer, if there is one before ctx ends.
// sent is called when all but that byte is on its way.
func (g *Gateway) stall(ctx context.Context, size int, announced bool, sent func()) (Answer, error) {
	c, err := net.Dial("tcp", g.Opts.Gateway)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	length := "transfer-encoding: chunked"
	if announced {
		length = "content-length: " + strconv.Itoa(size)
	}
	_, _ = fmt.Fprintf(c, "POST /v1/messages HTTP/1.1\r\nhost: %s\r\n%s\r\n\r\n", g.Opts.Gateway, length)
	go func() {
		piece := bytes.Repeat([]byte("x"), 64<<10)
		var err error
		for left := size - 1; left > 0 && err == nil; left -= len(piece) {
			p := piece[:min(left, len(piece))]
			if announced {
				_, err = c.Write(p)
			} else {
				_, err = fmt.Fprintf(c, "%x\r\n%s\r\n", len(p), p)
			}
		}
		if err == nil {
			sent()
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodPost})
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(b)}, err
}

// stalled is a body that never ends.
type stalled struct {
	left int
	end  context.Context
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		<-s.end.Done()
		return 0, s.end.Err()
	}
	n := min(len(p), s.left)
	s.left -= n
	return n, nil
}

// steadily sends so many good small requests a second until ctx ends, and returns how many there were and how many of
// them failed.
func (g *Gateway) steadily(ctx context.Context, t *testing.T, perSecond int) (all, failed int) {
	t.Helper()
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	results := make(chan error)
	waiting := 0
	note := func(err error) {
		waiting--
		if err != nil {
			failed++
			t.Errorf("a good request failed: %v", err)
		}
	}
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			all++
			waiting++
			go func() {
				a, err := g.Post(t.Context(), t.Name(), "", strings.NewReader(`{"model":"x"}`))
				if err == nil && a.Status != 200 {
					err = fmt.Errorf("%d %s", a.Status, a.Body)
				}
				results <- err
			}()
		case err := <-results:
			note(err)
		case <-ctx.Done():
		}
	}
	for waiting > 0 {
		note(<-results)
	}
	return all, failed
}
