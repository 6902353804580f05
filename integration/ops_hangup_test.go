package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
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
	for name, change := range map[string]func(o *Options){"run": nil, "serve": apart} {
		t.Run(name, func(t *testing.T) {
			g := start(t, change)
			args := g.Service().Args[1:]
			_ = g.Service().Process.Signal(terminate)
			if err := g.Service().Wait(); err != nil {
				t.Fatal(err)
			}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(g.Opts.Binary, args...)
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
			_ = cmd.Process.Signal(terminate)
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
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

func TestAHangUpDuringACommandsRefreshLosesNoRefreshToken(t *testing.T) {
	g := startWith(t, nil, one)
	g.Provider.Script("claude-1", provider.Script{After: time.Second})
	cmd := g.command(g.Opts.Binary, "accounts", "refresh", "claude-1", "--force", "-c", g.config())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the grant is processed",
		func() bool { return g.Provider.Account("claude-1").Redemptions == 1 })
	_ = cmd.Process.Signal(syscall.SIGHUP)
	_ = cmd.Wait()
	g.Provider.Script("claude-1", provider.Script{})
	g.cli(t, "accounts", "refresh", "claude-1", "--force")
	expect(t, "redemptions", g.Provider.Account("claude-1").Redemptions, 2)
	expect(t, "reuses of a spent token", g.Provider.Account("claude-1").Reuses, 0)
}

func TestAHangUpBeforeTheServiceIsUpEndsNothing(t *testing.T) {
	g := start(t, nil)
	slow := filepath.Join(t.TempDir(), "envoy")
	script := "#!/bin/sh\ntouch \"$0.asked\"\nsleep 1\n"
	if err := os.WriteFile(slow, []byte(script), 0o700); err != nil { // it is a program
		t.Fatal(err)
	}
	cmd := exec.Command(g.Opts.Binary, "run", "--envoy", slow, "-c", g.config())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it asks Envoy for its version", func() bool {
		_, err := os.Stat(slow + ".asked")
		return err == nil
	})
	_ = cmd.Process.Signal(syscall.SIGHUP)
	_ = cmd.Wait()
	expect(t, "exit code", cmd.ProcessState.ExitCode(), 1) // that is no Envoy; -1: the signal ended it
}
