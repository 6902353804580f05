package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// apart runs the service and Envoy as two processes.
func apart(o *Options) { o.Serve = true }

// load sends 50 requests a second of every kind for the given time and returns the statuses, by kind.
func (g *Gateway) load(t *testing.T, length time.Duration) func() map[string]int {
	kinds := []string{"", "status=401; times=1", "delay=700ms", "events=4; pause=300ms"}
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	tick := time.NewTicker(20 * time.Millisecond)
	wg.Go(func() {
		defer tick.Stop()
		for i := range int(length / (20 * time.Millisecond)) {
			<-tick.C
			wg.Go(func() {
				kind := kinds[i%len(kinds)]
				a, err := g.Post(t.Context(), fmt.Sprint(t.Name(), i), kind, strings.NewReader("{}"))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					got[kind+" error "+err.Error()]++
				case a.Status != 200:
					got[fmt.Sprint(kind, " ", a.Status, " ", a.Header.Get("tokenward-reason"), " ", a.Body)]++
				case strings.HasPrefix(kind, "events") && strings.Count(a.Body, "data:") != 4:
					got[kind+" cut"]++
				default:
					got["ok"]++
				}
			})
		}
	})
	return func() map[string]int { wg.Wait(); return got }
}

func noneLost(t *testing.T, got map[string]int) {
	t.Helper()
	if got["ok"] == 0 {
		t.Error("no request succeeded")
	}
	for k, n := range got {
		if k != "ok" {
			t.Errorf("%d lost: %s", n, k)
		}
	}
}

func TestAKilledServiceThatComesBackWithinASecondLosesNoRequest(t *testing.T) {
	g := start(t, apart)
	wait := g.load(t, 4*time.Second)
	time.Sleep(1500 * time.Millisecond)
	_ = g.Service().Process.Kill()
	_ = g.Service().Wait()
	time.Sleep(300 * time.Millisecond)
	if err := g.StartService(); err != nil {
		t.Fatal(err)
	}
	noneLost(t, wait())
	refused := map[string]int{}
	for _, s := range g.Provider.Seen("") {
		if s.Status == 200 {
			refused[s.Test]++
		}
	}
	for test, n := range refused {
		if n > 1 {
			t.Errorf("%s was answered %d times", test, n)
		}
	}
	for _, n := range []string{"claude-1", "claude-2"} {
		expect(t, "reuses of "+n, g.Provider.Account(n).Reuses, 0)
	}
}

func TestASuccessorTakesTheSocketOverWithoutALostRequest(t *testing.T) {
	g := start(t, func(o *Options) { o.Serve = true })
	wait := g.load(t, 3*time.Second)
	time.Sleep(time.Second)
	old := g.Service()
	if err := g.StartService(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the successor waits for the admin address", func() bool { return strings.Contains(g.Log.String(), "waiting for it to stop") })
	_ = old.Process.Signal(syscall.SIGTERM)
	if err := old.Wait(); err != nil {
		t.Errorf("the old process: %v", err)
	}
	noneLost(t, wait())
	eventually(t, 5*time.Second, "the successor serves operators", func() bool { return g.state(t, "claude-1") == "active" })
	expect(t, "status after the hand-over", g.post(t, "").Status, 200)
}

func TestWhileTheServiceIsAwayNothingLeavesWithoutAToken(t *testing.T) {
	g := start(t, apart)
	done := make(chan Answer, 1)
	go func() {
		a, _ := g.Post(t.Context(), t.Name()+" stream", "events=5; pause=300ms", strings.NewReader("{}"))
		done <- a
	}()
	time.Sleep(300 * time.Millisecond)
	_ = g.Service().Process.Kill()
	_ = g.Service().Wait()
	a := g.post(t, "")
	expect(t, "status", a.Status, 503)
	expect(t, "requests at the provider", len(g.Provider.Seen(t.Name())), 0)
	flowing := <-done
	expect(t, "status of the stream that flowed", flowing.Status, 200)
	expect(t, "its events", strings.Count(flowing.Body, "data:"), 5)
	if err := g.StartService(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the gateway serves again", func() bool { return g.post(t, "").Status == 200 })
}

func TestSIGTERMDuringASlowRefreshSavesTheNewRefreshToken(t *testing.T) {
	g := start(t, apart)
	g.Provider.Script("claude-1", provider.Script{After: 1500 * time.Millisecond})
	go func() { _, _ = g.CLI("", "status") }()
	go func() {
		req, _ := http.NewRequest(http.MethodPost, g.AdminURL+"/api/admin/oauth/refresh", strings.NewReader(`{"action":"refresh-single","accountId":"claude-1","force":true}`))
		req.Header.Set("Authorization", "Bearer "+g.Token)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	eventually(t, 3*time.Second, "the grant is processed", func() bool { return g.Provider.Account("claude-1").Redemptions == 1 })
	_ = g.Service().Process.Signal(syscall.SIGTERM)
	if err := g.Service().Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if out := g.cli(t, "accounts", "show", "claude-1"); !strings.Contains(out, "generation     2") {
		t.Errorf("the rotation was not saved:\n%s", out)
	}
	g.Provider.Script("claude-1", provider.Script{})
	g.cli(t, "accounts", "refresh", "claude-1", "--force")
	expect(t, "redemptions with the saved token", g.Provider.Account("claude-1").Redemptions, 2)
	if err := errors.Join(g.StartService(), g.ready()); err != nil {
		t.Fatal(err)
	}
}

func TestTwentySecondTokensStayFreshForAMinuteUnderLoad(t *testing.T) {
	g := start(t, nil)
	for name, pool := range map[string]string{"claude-1": "claude", "claude-2": "claude", "backup-1": "backup"} {
		if err := g.Add(name, pool, 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	before := len(g.Provider.Seen(""))
	end := time.Now().Add(time.Minute)
	for time.Now().Before(end) {
		expect(t, "status", g.post(t, "").Status, 200)
		time.Sleep(20 * time.Millisecond)
	}
	for _, s := range g.Provider.Seen("")[before:] {
		if s.Status == 401 {
			t.Error("the provider refused a token")
		}
	}
	if n := g.Provider.Account("claude-1").Redemptions; n < 4 || n > 12 {
		t.Errorf("redemptions in a minute: %d", n)
	}
	expect(t, "reuses", g.Provider.Account("claude-1").Reuses, 0)
}
