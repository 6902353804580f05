package integration

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// three is the usual set: two accounts in the first pool, one in the fallback pool.
var three = map[string]string{"claude-1": "claude", "claude-2": "claude", "backup-1": "backup"}

// one leaves no choice.
var one = map[string]string{"claude-1": "claude"}

// start runs a gateway with claude-1, claude-2 and backup-1 whose tokens live an hour.
func start(t *testing.T, change func(o *Options)) *Gateway {
	t.Helper()
	return startWith(t, change, three)
}

// startWith runs a gateway with the given accounts, by pool, whose tokens live an hour.
func startWith(t *testing.T, change func(o *Options), accounts map[string]string) *Gateway {
	t.Helper()
	o := Options{
		Binary: tool(t, "TOKENWARD", "../bin/tokenward", "make build"),
		Envoy:  tool(t, "ENVOY", "../.tools/envoy/bin/envoy", "make tools"),
		Folder: t.TempDir(),
	}
	if change != nil {
		change(&o)
	}
	g, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if t.Failed() {
			t.Log(g.Log)
		}
		for _, secret := range []string{"sk-ant-oat-sim", "sk-ant-ort-sim"} {
			if strings.Contains(g.Log.String(), secret) {
				t.Error("a secret is in the logs")
			}
		}
	})
	for name, pool := range accounts {
		if err := g.Add(name, pool, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

// each runs a scenario on a gateway of its own for JSON and SSE, over HTTP/1.1 and HTTP/2 towards the provider. sim
// asks the provider for the kind of answer; it ends what else x-sim says.
func each(
	t *testing.T, change func(o *Options), accounts map[string]string, f func(t *testing.T, g *Gateway, sim string),
) {
	for _, h2 := range []bool{false, true} {
		for kind, sim := range map[string]string{"json": "", "sse": "events=3"} {
			t.Run(map[bool]string{false: "http1", true: "http2"}[h2]+" "+kind, func(t *testing.T) {
				g := startWith(t, func(o *Options) {
					o.HTTP2 = h2
					if change != nil {
						change(o)
					}
				}, accounts)
				f(t, g, sim)
			})
		}
	}
}

// served checks that the client got the provider's whole answer, of the kind that sim asked for.
func served(t *testing.T, a Answer, sim string) {
	t.Helper()
	expect(t, "status", a.Status, 200)
	if strings.Contains(sim, "events") {
		expect(t, "content type", a.Header.Get("Content-Type"), "text/event-stream")
		expect(t, "events", strings.Count(a.Body, "data:"), 3)
		return
	}
	if !strings.HasPrefix(a.Body, `{"account":`) {
		t.Errorf("this is not the provider's answer: %s", a.Body)
	}
}

// attempted returns what reached the provider for a test, and checks that every attempt was made over the right
// protocol with exactly one token, its own account's. An attempt whose token is no longer valid has no account.
func (g *Gateway) attempted(t *testing.T, test string) []provider.Seen {
	t.Helper()
	seen := g.Provider.Seen(test)
	for i, s := range seen {
		expect(t, "protocol", s.Proto, map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[g.Opts.HTTP2])
		if len(s.Authorizations) != 1 {
			t.Fatalf("attempt %d carried %d authorization headers", i+1, len(s.Authorizations))
		}
		if !strings.HasPrefix(s.Authorizations[0], "Bearer sk-ant-oat-sim-"+s.Account) {
			t.Errorf("attempt %d, served as %q, did not carry that account's token", i+1, s.Account)
		}
	}
	return seen
}

func tool(t *testing.T, variable, path, remedy string) string {
	t.Helper()
	p, err := Tool(variable, path, remedy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// post sends a request and fails the test if there is no answer.
func (g *Gateway) post(t *testing.T, sim string) Answer {
	t.Helper()
	a, err := g.Post(t.Context(), t.Name(), sim, strings.NewReader(`{"model":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// cli runs a command that must succeed.
func (g *Gateway) cli(t *testing.T, args ...string) string {
	t.Helper()
	out, err := g.CLI("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// staysTrueFor watches a condition that must go on holding, and ends the test when it does not. That something never
// happens cannot be awaited: d is longer than it would take to happen.
func staysTrueFor(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	for ok() {
		if time.Since(began) >= d {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no longer after %s: %s", time.Since(began).Round(time.Millisecond), what)
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func (g *Gateway) yaml(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(g.config())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// runWith runs `serve` with a configuration and returns what it said.
func (g *Gateway) runWith(yaml string) (string, error) {
	if err := os.WriteFile(g.config(), []byte(yaml), 0o600); err != nil {
		return "", err
	}
	return g.CLI("", "serve")
}
