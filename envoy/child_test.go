package envoy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/integration/port"
)

func childConfig(t *testing.T) (ChildConfig, Config) {
	t.Helper()
	c := samples()["small"]
	c.Listen, c.Admin, c.AdminSocket = port.Address(), port.Address(), filepath.Join(t.TempDir(), "a.sock")
	c.Upstreams = []Upstream{{Name: "up", URL: "http://127.0.0.1:1", Protocol: "auto"}}
	c.ExtProc = "unix:" + filepath.Join(t.TempDir(), "x.sock")
	return ChildConfig{
		Path:      realEnvoy(t),
		Bootstrap: bootstrapYAML(t, c),
		RunFolder: filepath.Join(t.TempDir(), "run"),
		Admin:     c.AdminSocket,
		Output:    io.Discard,
	}, c
}

func (c *Child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil || c.cmd.Process == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// within polls a real process, which no fake clock moves.
func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(d), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", d, what)
		case <-tick.C:
		}
	}
}

func TestAKilledEnvoyIsRestartedAndStopLeavesNone(t *testing.T) {
	cfg, _ := childConfig(t)
	core, logs := observer.New(zap.InfoLevel)
	child := NewChild(cfg, zap.New(core))
	if err := child.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := child.pid()
	if !child.ready(t.Context()) || !alive(first) {
		t.Fatal("Start returned before Envoy was ready")
	}
	if info, err := os.Stat(filepath.Join(cfg.RunFolder, "envoy.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the bootstrap's file: %v, %v; want mode 0600", info, err)
	}

	if err := syscall.Kill(first, syscall.SIGKILL); err != nil { // at once: a young Envoy is repaired too
		t.Fatal(err)
	}
	within(t, 15*time.Second, "another Envoy is ready", func() bool {
		pid := child.pid()
		return pid != first && pid != 0 && child.ready(t.Context())
	})
	if n := logs.FilterMessageSnippet("starting it again").Len(); n != 1 {
		t.Errorf("the death was logged %d times, want once", n)
	}

	second := child.pid()
	if err := child.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if alive(first) || alive(second) {
		t.Error("Stop left an Envoy running")
	}
	if _, err := net.DialTimeout("unix", cfg.Admin, time.Second); err == nil {
		t.Error("something still listens on the admin socket")
	}
	if err := child.Stop(t.Context()); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
}

func TestStopWaitsForARequestUnderWay(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	address := ""
	result := make(chan string, 1)
	begins := t.Run("stopping", func(t *testing.T) { // its end stops the Envoy, while the request runs
		address = startOuter(
			t,
			[]Route{{Name: "all", Prefix: "/", Hosts: []string{"*"}, Attempts: 1}},
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(begun)
				<-finish
				_, _ = io.WriteString(w, "whole")
			}),
		)
		go func() {
			resp, err := http.Post("http://"+address, "text/plain", strings.NewReader("body")) // ends with the handler
			if err != nil {
				result <- err.Error()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			result <- string(body) + errorText(err)
		}()
		<-begun
		time.AfterFunc(time.Second, func() { close(finish) })
	})
	if !begins {
		t.FailNow()
	}
	if got := <-result; got != "whole" {
		t.Errorf("a request under way at Stop got %q", got)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return " " + err.Error()
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	for name, address := range map[string]func(Config) string{
		"listen": func(c Config) string { return c.Listen },
		"admin":  func(c Config) string { return c.Admin },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, c := childConfig(t)
			taken := address(c)
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", taken)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			child := NewChild(cfg, zap.NewNop())
			err = child.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), taken) || !strings.Contains(err.Error(), "Address already in use") {
				t.Errorf("got %v, want an error with %s and what is wrong with it", err, taken)
			}
			if pid := child.pid(); pid != 0 && alive(pid) {
				t.Error("the failed Start left an Envoy running")
			}
		})
	}
}

// TestAnotherEnvoysReadinessIsNotTakenForOurs: the admin socket answers, but it is not our child that does.
func TestAnotherEnvoysReadinessIsNotTakenForOurs(t *testing.T) {
	cfg, _ := childConfig(t)
	other := NewChild(cfg, zap.NewNop())
	if err := other.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Stop(context.Background()) }()
	cfg.RunFolder = filepath.Join(t.TempDir(), "run")
	child := NewChild(cfg, zap.NewNop())
	if err := child.Start(t.Context()); err == nil || !strings.Contains(err.Error(), cfg.Admin) {
		t.Errorf("got %v, want an error with %s", err, cfg.Admin)
	}
	if err := child.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if !other.ready(t.Context()) {
		t.Error("the other Envoy was disturbed")
	}
}

func TestABootstrapThatEnvoyRefusesFailsStartWithItsWords(t *testing.T) {
	cfg, _ := childConfig(t)
	cfg.Bootstrap = []byte("no_such_field: 1\n")
	if err := NewChild(cfg, zap.NewNop()).Start(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "no_such_field") {
		t.Errorf("got %v, want Envoy's own words", err)
	}
}

func TestABinaryThatIsMissingFailsStart(t *testing.T) {
	child := NewChild(ChildConfig{Path: filepath.Join(t.TempDir(), "envoy"), RunFolder: t.TempDir(), Admin: "127.0.0.1:1"},
		zap.NewNop())
	if err := child.Start(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := child.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAStartThatIsCanceledLeavesNoEnvoy uses a stand-in that is never ready.
func TestAStartThatIsCanceledLeavesNoEnvoy(t *testing.T) {
	sleeper := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(sleeper, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil { // it must be executable
		t.Fatal(err)
	}
	child := NewChild(ChildConfig{Path: sleeper, RunFolder: t.TempDir(), Admin: "127.0.0.1:1", Output: io.Discard},
		zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- child.Start(ctx) }()
	within(t, 5*time.Second, "the stand-in runs", func() bool { return child.pid() != 0 })
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Start does not return when it is canceled")
	}
	if alive(child.pid()) {
		t.Error("the process was left running")
	}
}

func TestStopBeforeStartDoesNothing(t *testing.T) {
	if err := NewChild(ChildConfig{}, zap.NewNop()).Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnEnvoyThatIgnoresTheSignalIsKilled(t *testing.T) {
	deaf := filepath.Join(t.TempDir(), "envoy")
	// it must be executable
	if err := os.WriteFile(deaf, []byte("#!/bin/sh\ntrap '' TERM\necho deaf >&2\nwhile :; do sleep 0.1; done\n"),
		0o700); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	child := NewChild(ChildConfig{Path: deaf, RunFolder: t.TempDir(), Admin: "127.0.0.1:1", Output: io.Discard},
		zap.New(core))
	child.up = true // as after Start
	go child.supervise(make(chan error, 1))
	within(t, 5*time.Second, "its log is passed on", func() bool { return logs.FilterMessage("deaf").Len() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := child.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if alive(child.pid()) {
		t.Error("it survived Stop")
	}
}

// helper makes TestMain run a service that owns an Envoy, to be killed.
const helper = "TOKENWARD_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(helper) != "" {
		own()
	}
	goleak.VerifyTestMain(m)
}

// own starts the Envoy that the environment describes, prints its pid, and waits for its own end.
func own() {
	boot, err := os.ReadFile(filepath.Join(os.Getenv(helper), "bootstrap.yaml"))
	child := NewChild(
		ChildConfig{
			Path:      os.Getenv("OWNER_ENVOY"),
			Bootstrap: boot,
			RunFolder: os.Getenv(helper),
			Admin:     os.Getenv("OWNER_ADMIN"),
			Output:    io.Discard,
		},
		zap.NewNop(),
	)
	if err == nil {
		err = child.Start(context.Background())
	}
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(child.pid()) + "\n")
	select {}
}

func TestAKilledServiceLeavesNoOrphan(t *testing.T) {
	cfg, _ := childConfig(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "bootstrap.yaml"), cfg.Bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	owner := exec.CommandContext(t.Context(), os.Args[0]) // this test's own binary
	owner.Env = append(os.Environ(), helper+"="+folder, "OWNER_ENVOY="+cfg.Path, "OWNER_ADMIN="+cfg.Admin)
	owner.Stderr = os.Stderr
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the owner did not start its Envoy: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed
	within(t, 10*time.Second, "the orphaned Envoy ends", func() bool { return !running(pid) })
}

// running tells whether a process that is not our child runs; one that nobody waits for may stay as a zombie.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
