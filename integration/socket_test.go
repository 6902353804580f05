package integration

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/port"
)

// beside is a configuration like the gateway's, with its socket and an admin address of its own.
func (g *Gateway) beside(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(g.Opts.Folder, "beside.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(g.yaml(t)), g.Opts.Admin, port.Address())),
		0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// restartEnvoy makes Envoy connect anew.
func (g *Gateway) restartEnvoy(t *testing.T) {
	t.Helper()
	_ = g.envoy.Process.Kill()
	_ = g.envoy.Wait()
	g.envoy = g.command(g.Opts.Envoy, g.envoy.Args[1:]...)
	if err := g.envoy.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "Envoy listens", func() bool {
		c, err := net.Dial("tcp", g.Opts.Gateway)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (g *Gateway) isReady(t *testing.T) bool {
	t.Helper()
	status, _ := g.readiness(t)
	return status == 200
}

func TestTheSocketIsTakenBackWhenTheProcessThatTookItOverEnds(t *testing.T) {
	for name, end := range map[string]os.Signal{"stopped": terminate, "killed": syscall.SIGKILL} {
		for _, same := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", same configuration", false: ", another"}[same], func(t *testing.T) {
				g := start(t, apart)
				file := g.config()
				if !same {
					file = g.beside(t)
				}
				second := g.command(g.Opts.Binary, "serve", "-c", file)
				if err := second.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, 10*time.Second, "the first notices", func() bool { return !g.isReady(t) })
				if _, why := g.readiness(t); !strings.Contains(why, "another process has taken over the socket") {
					t.Errorf("readyz: %s", why)
				}
				if out, err := g.CLI("", "status", "--ready"); err == nil ||
					!strings.Contains(out, "another process has taken over the socket") {
					t.Errorf("status --ready: %v: %s", err, out)
				}
				g.restartEnvoy(t)
				served(t, g.post(t, ""), "")
				wait := g.loadOf(t, 3*time.Second, sound)
				time.Sleep(500 * time.Millisecond)
				_ = second.Process.Signal(end)
				if err := second.Wait(); err != nil && end == terminate {
					t.Errorf("the second process: %v", err)
				}
				noneLost(t, wait())
				eventually(t, 2*time.Second, "the first is ready again", func() bool { return g.isReady(t) })
				served(t, g.post(t, ""), "")
				expect(t, "warnings of the take-over", strings.Count(g.Log.String(), `"msg":"another process has taken over`), 1)
				expect(t, "warnings of the way back",
					strings.Count(g.Log.String(), `"msg":"the socket's path led nowhere: took it back"`), 1)
			})
		}
	}
}

func TestARemovedSocketIsMadeAgain(t *testing.T) {
	g := start(t, apart)
	socket := filepath.Join(g.Opts.Folder, "run", "extproc.sock")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	g.restartEnvoy(t)
	served(t, g.post(t, ""), "")
}

func TestARunBesideARunningServiceLeavesItsSocketAlone(t *testing.T) {
	g := start(t, apart)
	cmd := exec.Command(g.Opts.Binary, "run", "--envoy", g.Opts.Envoy, "-c", g.beside(t))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), "another tokenward serves there: stop it first") {
		t.Errorf("got %v: %s", err, out)
	}
	staysTrueFor(t, time.Second, "the running service is ready", func() bool { return g.isReady(t) })
	g.restartEnvoy(t)
	served(t, g.post(t, ""), "")
	expect(t, "the socket was taken", strings.Contains(g.Log.String(), "taken over"), false)
}
