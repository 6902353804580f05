package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wire is a provider that keeps every byte it is sent, whether it takes it for a request's or not.
type wire struct {
	url, address string

	release chan struct{} // ends the answers that are held

	mu   sync.Mutex
	raw  bytes.Buffer
	seen []arrival
}

// arrival is a request as the provider understood it.
type arrival struct {
	line   string // method, URI and words of the body
	host   string
	header http.Header
}

// startWire runs it. serve answers after the body was read; nil says 200.
func startWire(t *testing.T, serve http.HandlerFunc) *wire {
	t.Helper()
	w := &wire{release: make(chan struct{})}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.note(r)
		switch {
		case strings.HasSuffix(r.URL.Path, "/held"):
			_, _ = io.WriteString(rw, "begun, ")
			_ = http.NewResponseController(rw).Flush()
			<-w.release
			_, _ = io.WriteString(rw, "ended")
			return
		case serve != nil:
			serve(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, "{}")
	}))
	s.Listener = taped{s.Listener, w}
	s.Start()
	t.Cleanup(s.Close)
	w.url, w.address = s.URL, s.Listener.Addr().String()
	return w
}

// note reads a request.
func (w *wire) note(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	line := strings.Join(append([]string{r.Method, r.RequestURI}, strings.Fields(string(body))...), " ")
	if err != nil {
		line += " and then " + err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, arrival{line, r.Host, r.Header.Clone()})
}

// of are the requests that concern a row of a table, by the part of the path that only it has.
func (w *wire) of(row string) (seen []arrival) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.seen {
		if strings.Contains(a.line, row) {
			seen = append(seen, a)
		}
	}
	return seen
}

// forget starts over.
func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = nil
	w.raw.Reset()
}

func (w *wire) bytes() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.raw.String()
}

// taped is a listener whose connections are recorded.
type taped struct {
	net.Listener
	w *wire
}

func (l taped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return tapedConn{c, l.w}, err
}

type tapedConn struct {
	net.Conn
	w *wire
}

func (c tapedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.raw.Write(p[:n])
	return n, err
}

// attempt is one row of a table of attacks.
type attempt struct {
	name string
	sent string // | is a line's end, ROW the row's own path, SMUGGLED a request of LENGTH bytes
	want string // of tell
}

// all plays the rows at once, since Envoy leaves an ended connection open for a second. Each is played twice: with the
// next request after its answer, and pipelined.
func (g *Gateway) all(t *testing.T, w *wire, rows []attempt) {
	t.Helper()
	end := g.bystanders(t, w)
	var playing sync.WaitGroup
	for i, r := range rows {
		for _, pipelined := range []bool{false, true} {
			row := fmt.Sprintf("/v1/row%d.%t", i, pipelined)
			playing.Go(func() {
				if told := g.tell(w, row, r.sent, pipelined); told != r.want {
					t.Errorf("%s (pipelined: %t):\n got %s\nwant %s", r.name, pipelined, told, r.want)
				}
				g.ordinary(t, r.name)
			})
		}
	}
	playing.Wait()
	end()
	w.isClean(t)
}

// bystanders begins answers to other clients, on both of Envoy's workers, where they share connections with whoever
// attacks. They must come to their end after the attack.
func (g *Gateway) bystanders(t *testing.T, w *wire) (end func()) {
	t.Helper()
	var answers []io.ReadCloser
	for range 6 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/held", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client(t, false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, resp.Body)
	}
	return func() {
		t.Helper()
		close(w.release)
		for _, a := range answers {
			if b, err := io.ReadAll(a); err != nil || string(b) != "begun, ended" {
				t.Errorf("another client's answer was cut: %q, %v", b, err)
			}
			_ = a.Close()
		}
	}
}

// ordinary sends an ordinary request after an attack.
func (g *Gateway) ordinary(t *testing.T, attack string) {
	t.Helper()
	if a, err := g.Post(t.Context(), t.Name(), "", strings.NewReader("{}")); err != nil || a.Status != 200 {
		t.Errorf("%s: the next ordinary request got %d, %v", attack, a.Status, err)
	}
}

// isClean checks what holds for whatever reached the provider, after the last request has.
func (w *wire) isClean(t *testing.T) {
	t.Helper()
	for _, a := range w.of("") {
		expect(t, "host of "+a.line, a.host, w.address)
		tokens := a.header.Values("Authorization")
		if len(tokens) != 1 || !strings.HasPrefix(tokens[0], "Bearer sk-ant-oat-sim-") {
			t.Errorf("%s came with %d credentials", a.line, len(tokens))
		}
		for name := range a.header {
			for _, internal := range []string{"x-tokenward", "x-envoy", "x-forwarded", "x-request-id"} {
				if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), internal) {
					t.Errorf("%s came with %s", a.line, name)
				}
			}
		}
	}
	raw := w.bytes()
	if rest := strings.ReplaceAll(raw, "\r\n", ""); strings.ContainsAny(rest, "\r\n\x00") {
		t.Errorf("half a line's end reached the provider: %q", rest)
	}
	known := 0
	for _, a := range w.of("smuggled") {
		known += strings.Count(a.line, "smuggled") // in a body, or what the table wants
	}
	expect(t, "bytes at the provider that are no request's: smuggled ones", strings.Count(raw, "smuggled"), known)
}

// tell sends bytes and then another request, in one go or after the first answer, and says what came of it: the first
// answer, whether the connection ended with it or is in step, and what of it all the provider saw.
func (g *Gateway) tell(w *wire, row, sent string, pipelined bool) string {
	after := "GET " + row + "/after HTTP/1.1\r\nhost: localhost\r\n\r\n"
	smuggled := "GET " + row + "/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
	sent = strings.NewReplacer(
		"SMUGGLED", smuggled, "LENGTH", fmt.Sprint(len(smuggled)), "|", "\r\n", "HOST", "host: localhost", "ROW", row,
		"ENVOYADMIN", g.Opts.EnvoyAdmin,
	).Replace(sent)
	c, err := g.dial()
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	if pipelined {
		sent += after
	}
	_, _ = io.WriteString(c, sent)
	first, err := nextAnswer(r)
	if err != nil {
		return "no answer: " + err.Error()
	}
	if !pipelined {
		_, _ = io.WriteString(c, after) // nobody may be there
	}
	said := strings.TrimSpace(fmt.Sprintf("%d %s", first.Status, first.Header.Get("tokenward-reason")))
	var end string
	switch second, err := nextAnswer(r); {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		end = "ended"
	case err != nil:
		end = "lost: " + err.Error()
	case second.Status != 200:
		end = fmt.Sprintf("out of step: the second answer is %d", second.Status)
	default:
		end = "in step"
		_ = c.(*net.TCPConn).CloseWrite()
		if more, err := nextAnswer(r); err == nil {
			end = fmt.Sprintf("out of step: a third answer, %d", more.Status)
		}
	}
	return w.told(row, said, end)
}

// dial connects to the gateway, for a while.
func (g *Gateway) dial() (net.Conn, error) {
	c, err := net.Dial("tcp", g.Opts.Gateway)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(20 * time.Second))
}

// told puts together what the client and the provider saw.
func (w *wire) told(row, said, end string) string {
	var lines []string
	for _, a := range w.of(row) {
		lines = append(lines, strings.ReplaceAll(a.line, row, ""))
	}
	if end == "in step" {
		if n := len(lines); n > 0 && lines[n-1] == "GET /after" {
			lines = lines[:n-1]
		} else {
			end = "out of step: another request was answered"
		}
	}
	if len(lines) == 0 {
		return said + ", " + end
	}
	return said + ", " + end + ": " + strings.Join(lines, ", ")
}

// nextAnswer reads the next answer of a connection, but for hints that one will come.
func nextAnswer(r *bufio.Reader) (Answer, error) {
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return Answer{}, err
		}
		b, err := io.ReadAll(resp.Body)
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols || err != nil {
			return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(b)}, err
		}
	}
}

// accept serves each connection on a goroutine of its own until the test ends.
func accept(t *testing.T, l net.Listener, serve func(net.Conn)) {
	t.Helper()
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
}
