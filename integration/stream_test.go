package integration

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// slow is a body that takes its time.
type slow struct{ left int }

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(20 * time.Millisecond)
	return copy(p, strings.Repeat("x", 16<<10)), nil
}

func TestTheFirstEventDoesNotWaitForTheSecond(t *testing.T) {
	g := start(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-sim", "events=2; pause=3s")
	started := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > 2500*time.Millisecond {
		t.Errorf("the first event took %s", took)
	}
}

func TestACutAfterTheFirstEventIsNotRetried(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, sim string) {
		if sim == "" {
			return
		}
		_, err := g.Post(t.Context(), t.Name(), "events=3; pause=50ms; cut=1", strings.NewReader("{}"))
		if err == nil {
			t.Error("the client did not notice the cut")
		}
		expect(t, "requests at the provider", len(g.Provider.Seen(t.Name())), 1)
	})
}

func TestARefusalBeforeASlowUploadHasEndedIsRetried(t *testing.T) {
	both(t, nil, func(t *testing.T, g *Gateway, _ string) {
		a, err := g.Post(t.Context(), t.Name(), "status=401; early", &slow{left: 40})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "status", a.Status, 200)
		if !strings.Contains(a.Body, `"body_length":655360`) {
			t.Errorf("the whole body did not arrive: %s", a.Body)
		}
		expect(t, "Envoy is alive", g.post(t, "").Status, 200)
	})
}

func TestEarlyHintsBeforeTheRefusalAreNoObstacle(t *testing.T) {
	g := start(t, nil)
	a := g.post(t, "status=401; hints")
	expect(t, "status", a.Status, 200)
	expect(t, "attempts", a.Header.Get("tokenward-attempts"), "2")
}

func TestAWebSocketUpgradeCarriesTheTokenAndARefusedOneIsRetried(t *testing.T) {
	g := start(t, nil)
	for _, sim := range []string{"", "status=401"} {
		cfg, err := websocket.NewConfig("ws"+strings.TrimPrefix(g.URL, "http")+"/ws", g.URL)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Header.Set("x-sim", sim)
		cfg.Header.Set("x-test-id", t.Name()+sim)
		c, err := websocket.DialConfig(cfg)
		if err != nil {
			t.Fatalf("%q: %v", sim, err)
		}
		if err := websocket.Message.Send(c, "hello"); err != nil {
			t.Fatal(err)
		}
		var back string
		if err := websocket.Message.Receive(c, &back); err != nil {
			t.Fatal(err)
		}
		expect(t, "echo", back, "hello")
		_ = c.Close()
	}
}

func TestHostileCopiesOfInternalHeadersChangeNothing(t *testing.T) {
	g := start(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/messages", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"x-tokenward-cluster": "backup", "x-tokenward-route": "admin", "x-tokenward-tenant": "evil", "x-tokenward-id": "1",
		"X-Tokenward-Retry": "1", "x-envoy-retry-on": "5xx", "x-envoy-attempt-count": "9", "x-forwarded-for": "1.2.3.4", "x-envoy-upstream-rq-timeout-ms": "1",
	} {
		req.Header.Set(k, v)
	}
	req.Header.Set("x-test-id", t.Name())
	a, err := Do(http.DefaultClient, req)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "status", a.Status, 200)
	if a.Account == "backup-1" {
		t.Error("the client chose the cluster")
	}
	for name := range g.Provider.Seen(t.Name())[0].Headers {
		if n := strings.ToLower(name); strings.HasPrefix(n, "x-envoy-") || strings.HasPrefix(n, "x-forwarded-") || strings.HasPrefix(n, "x-tokenward-") {
			t.Errorf("the provider sees %s", n)
		}
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	g := start(t, nil)
	other := *g
	other.Opts.Folder = t.TempDir()
	out, err := other.runWith(strings.ReplaceAll(string(g.yaml(t)), g.Opts.Admin, l.Addr().String()))
	if err == nil || !strings.Contains(out, l.Addr().String()) {
		t.Errorf("got %v: %s", err, out)
	}
}
