package integration

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (g *Gateway) replace(t *testing.T, from, to string) {
	t.Helper()
	text := strings.Replace(string(g.yaml(t)), from, to, 1)
	if err := os.WriteFile(g.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAHangUpReadsTheFileAgainAndEndsNothing(t *testing.T) {
	for name, change := range map[string]func(o *Options){"run": nil, "serve": apart} {
		t.Run(name, func(t *testing.T) {
			g := start(t, change)
			wait := g.loadOf(t, 4*time.Second, sound)
			hangUp := func(says ...string) {
				t.Helper()
				from := len(g.Log.String())
				if err := g.Service().Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				for _, s := range says {
					eventually(t, 5*time.Second, "it says "+s, func() bool { return strings.Contains(g.Log.String()[from:], s) })
				}
			}
			hangUp(`"event":"config_loaded"`, "it is in force")
			g.replace(t, "routes:", "log: { level: debug }\nroutes:")
			hangUp(`"log_level":"debug"`, "it is in force")
			g.replace(t, "claim_lease: 6s", "claim_lease: 7s")
			hangUp(`"event":"config_loaded"`, `"restart_for":["renewal.claim_lease"]`)
			g.replace(t, "claim_lease: 7s", "claim_lease: soon")
			hangUp(`"event":"config_rejected"`, "must be a duration")
			for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
				if err := g.Service().Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			noneLost(t, wait())
			served(t, g.post(t, ""), "")
		})
	}
}

func TestAServiceWhoseLogNobodyReadsAnyMoreGoesOnAndEndsInOrder(t *testing.T) {
	g := start(t, apart)
	_ = g.Service().Process.Signal(terminate)
	if err := g.Service().Wait(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(g.Opts.Binary, "serve", "-c", g.config())
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.service = cmd
	_ = w.Close()
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	g.post(t, "status=401") // has much to say
	_ = cmd.Process.Signal(syscall.SIGHUP)
	for range 3 {
		served(t, g.post(t, ""), "")
	}
	resp, err := http.Get(g.AdminURL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	_ = cmd.Process.Signal(terminate)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestAServiceThatWasStartedToIgnoreHangUpsIgnoresThem(t *testing.T) {
	g := start(t, apart)
	old := g.Service()
	_ = old.Process.Signal(terminate)
	_ = old.Wait()
	g.service = g.command("sh", "-c", "trap '' HUP; exec \"$0\" serve -c \"$1\"", g.Opts.Binary, g.config())
	if err := g.service.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.ready(); err != nil {
		t.Fatal(err)
	}
	from := len(g.Log.String())
	_ = g.service.Process.Signal(syscall.SIGHUP)
	served(t, g.post(t, ""), "")
	expect(t, "it read its file", strings.Contains(g.Log.String()[from:], "SIGHUP"), false)
}
