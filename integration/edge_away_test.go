package integration

import (
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

const (
	pause   = syscall.SIGSTOP
	proceed = syscall.SIGCONT
)

func (g *Gateway) killService(t *testing.T) {
	t.Helper()
	_ = g.Service().Process.Kill()
	_ = g.Service().Wait()
}

func TestWithoutTheServiceAClientIsToldWithinThreeSeconds(t *testing.T) {
	for name, change := range map[string]func(o *Options){
		"by default":    func(o *Options) { o.Serve = true },
		"one attempt":   func(o *Options) { o.Serve, o.Route = true, "    attempts: 1" },
		"ten attempts":  func(o *Options) { o.Serve, o.Route = true, "    attempts: 10" },
		"as configured": func(o *Options) { o.Serve, o.EnvoyKeys = true, ", service_wait: 800ms, retry_after: 7s" },
	} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, change, one)
			g.killService(t)
			wait, after := 2500*time.Millisecond, "2"
			if name == "as configured" {
				wait, after = 800*time.Millisecond, "7"
			}
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					a := g.post(t, "")
					refused(t, a, 503, "service_unavailable", "api_error")
					expect(t, "Retry-After", a.Header.Get("Retry-After"), after)
					if a.Took < wait-100*time.Millisecond || a.Took > wait+500*time.Millisecond {
						t.Errorf("answered after %s", a.Took)
					}
				})
			}
			wg.Wait()
			expect(t, "requests at the provider", len(g.Provider.Seen(t.Name())), 0)
		})
	}
}

// TestRequestsThatAreInTheServicesHandsWhenItDiesAreToldInTimeToo: held with a refused token, waiting for a token
// before they are sent, at the provider.
func TestRequestsThatAreInTheServicesHandsWhenItDiesAreToldInTimeToo(t *testing.T) {
	g := startWith(t, apart, one)
	g.Provider.Script("claude-1", provider.Script{Before: time.Minute})
	g.Provider.Revoke("claude-1")
	var wg sync.WaitGroup
	answered := make(chan time.Time, 20)
	for range 20 {
		wg.Go(func() {
			refused(t, g.post(t, ""), 503, "service_unavailable", "api_error")
			answered <- time.Now()
		})
	}
	eventually(t, 3*time.Second, "a refresh is held",
		func() bool { return g.Provider.TokenCalls() > 0 && len(g.Provider.Seen(t.Name())) == 20 })
	time.Sleep(500 * time.Millisecond) // the answers are held
	g.killService(t)
	died := time.Now()
	wg.Wait()
	close(answered)
	for at := range answered {
		if took := at.Sub(died); took > 3*time.Second {
			t.Errorf("told %s after the service died", took)
		}
	}
	g.Provider.Script("claude-1", provider.Script{})
}

// TestRequestsThatWaitForATokenWhenTheServiceDiesAreServedByItsSuccessor: however long they have waited, for instance
// as long as one waits for a service that is away.
func TestRequestsThatWaitForATokenWhenTheServiceDiesAreServedByItsSuccessor(t *testing.T) {
	g := startWith(t, apart, nil)
	if err := g.Add("claude-1", "claude", time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Second, "the account serves", func() bool { return g.post(t, "").Status == 200 })
	g.Provider.Script("claude-1", provider.Script{Before: time.Minute})
	g.Provider.Revoke("claude-1")
	go func() { _, _ = g.Post(t.Context(), "first", "", strings.NewReader("{}")) }() // its refresh makes the others wait
	eventually(t, 3*time.Second, "a refresh is held", func() bool { return g.Provider.TokenCalls() > 0 })
	wait := g.loadOf(t, 3500*time.Millisecond, []string{""})
	time.Sleep(3 * time.Second)
	g.killService(t)
	g.Provider.Script("claude-1", provider.Script{})
	time.Sleep(300 * time.Millisecond)
	if err := g.StartService(); err != nil {
		t.Fatal(err)
	}
	got := wait()
	t.Log(got)
	noneLost(t, got)
}

// TestAServiceThatHangsIsToldLikeOneThatIsAway: it holds its connections but says nothing.
func TestAServiceThatHangsIsToldLikeOneThatIsAway(t *testing.T) {
	g := startWith(t, apart, one)
	served(t, g.post(t, ""), "")
	if err := g.Service().Process.Signal(pause); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // until all its threads have stopped
	a := g.post(t, "")
	if err := g.Service().Process.Signal(proceed); err != nil {
		t.Fatal(err)
	}
	refused(t, a, 503, "service_unavailable", "api_error")
	if a.Took > 3*time.Second {
		t.Errorf("answered after %s", a.Took)
	}
	eventually(t, 3*time.Second, "it serves again", func() bool { return g.post(t, "").Status == http.StatusOK })
}
