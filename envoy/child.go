package envoy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/private"
)

const (
	readyWithin = 20 * time.Second // from start to Envoy's own readiness
	drainWithin = 10 * time.Second // requests under way at Stop
	killAfter   = 5 * time.Second  // between SIGTERM and SIGKILL
	provenAfter = 30 * time.Second // a life that long resets the back-off
)

// ChildConfig says which Envoy to run and with what.
type ChildConfig struct {
	Path      string // of the binary
	Bootstrap []byte // YAML
	RunFolder string // the bootstrap is written here
	Admin     string // Envoy's admin socket, an absolute path
	Output    io.Writer
	// Blocked says why Envoy cannot listen where it has to; nil: it can, or nothing is known.
	Blocked func(ctx context.Context) error
}

// Child is an Envoy that is restarted when it dies, until Stop.
type Child struct {
	cfg   ChildConfig
	log   *zap.Logger
	admin *http.Client

	mu   sync.Mutex // guards cmd, up and last
	cmd  *exec.Cmd
	up   bool     // Start has succeeded: from now on a death is repaired, not reported
	last []string // the latest lines of its log, for error messages

	life   context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

// NewChild prepares a Child; no I/O.
func NewChild(cfg ChildConfig, log *zap.Logger) *Child {
	c := &Child{cfg: cfg, log: log, admin: overSocket(cfg.Admin), done: make(chan struct{})}
	c.life, c.cancel = context.WithCancel(context.Background())
	return c
}

// Start runs Envoy and returns when it is ready. If it cannot start, the error holds its last words.
func (c *Child) Start(ctx context.Context) error {
	if c.ready(ctx) { // Envoy would take the socket away from the other one
		return fmt.Errorf("starting Envoy: another one answers on %s: stop the tokenward that runs it", c.cfg.Admin)
	}
	err := os.MkdirAll(c.cfg.RunFolder, 0o700)
	if err != nil {
		return fmt.Errorf("making Envoy's folder: %w", err)
	}
	first := make(chan error, 1)
	go c.supervise(first)
	ready, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-first:
			c.cancel()
			<-c.done
			if why := c.blocked(ctx); why != nil {
				return why
			}
			return fmt.Errorf("starting Envoy: it ended at once (%w): %s", err, c.words())
		case <-ready.Done():
			c.abandon()
			if ctx.Err() != nil {
				return fmt.Errorf("starting Envoy: stopped before it was ready: %w", ctx.Err())
			}
			return fmt.Errorf("starting Envoy: it was not ready within %s: %s", readyWithin, c.words())
		case <-poll.C:
			if !c.ready(ctx) {
				continue
			}
			if c.deaf(ctx) {
				c.abandon()
				if why := c.blocked(ctx); why != nil {
					return why
				}
				return fmt.Errorf("starting Envoy: it cannot listen: %s", c.words())
			}
			if c.takeOver(first) {
				return nil
			}
		}
	}
}

// blocked tells in our words what Envoy's last words tell in its own.
func (c *Child) blocked(ctx context.Context) error {
	if c.cfg.Blocked == nil {
		return nil
	}
	return c.cfg.Blocked(ctx)
}

// takeOver makes supervise repair deaths from now on; false if there was one already, which is then in first.
func (c *Child) takeOver(first <-chan error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = len(first) == 0
	return c.up
}

// abandon ends an Envoy that serves nobody yet.
func (c *Child) abandon() {
	c.cancel()
	c.mu.Lock()
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Kill() // it may have ended
	}
	c.mu.Unlock()
	<-c.done
}

// supervise runs Envoy again and again. It stays on one OS thread: the death signal of a child belongs to the thread
// that forked it.
func (c *Child) supervise(first chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	pause := &backoff.ExponentialBackOff{
		InitialInterval:     200 * time.Millisecond,
		RandomizationFactor: 0.2,
		Multiplier:          2,
		MaxInterval:         10 * time.Second,
	}
	pause.Reset()
	for c.life.Err() == nil {
		started := time.Now()
		err := c.runOnce()
		if c.life.Err() != nil {
			return
		}
		c.mu.Lock()
		up := c.up
		if !up {
			first <- err // never blocks: sent once, and there is room for one
		}
		c.mu.Unlock()
		if !up {
			return
		}
		if time.Since(started) > provenAfter {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		c.log.Error("Envoy ended; starting it again", zap.Error(err), zap.Int64("in_ms", wait.Milliseconds()),
			zap.String("last_words", c.words()))
		select {
		case <-time.After(wait):
		case <-c.life.Done():
		}
	}
}

func (c *Child) runOnce() error {
	file := filepath.Join(c.cfg.RunFolder, "envoy.yaml")
	if err := private.WriteFile(file, c.cfg.Bootstrap); err != nil { // each time: it says where the tokens go
		return fmt.Errorf("writing Envoy's configuration: %w", err)
	}
	//nolint:gosec // the operator names the program; Stop ends it, after a drain
	cmd := exec.Command(c.cfg.Path, "-c", file, "--disable-hot-restart", "--log-level", "warning")
	// Ctrl-C reaches us alone: we drain first
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Stdout, cmd.Env = c.cfg.Output, environment()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	c.mu.Lock()
	err = c.life.Err() // under the lock: what Stop does not see in cmd is not started either
	if err == nil {
		c.last = nil
		err = cmd.Start()
		c.cmd = cmd
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.pass(stderr)
	err = cmd.Wait()
	if err == nil {
		err = errors.New("exit status 0")
	}
	return err
}

// pass copies Envoy's log into ours until it ends.
func (c *Child) pass(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	var quiet quieter
	for lines.Scan() {
		line, ok := quiet.line(lines.Text())
		if !ok {
			continue
		}
		c.mu.Lock()
		if c.last = append(c.last, line); len(c.last) > 5 {
			c.last = c.last[1:]
		}
		c.mu.Unlock()
		c.log.Info(line)
	}
	_, _ = io.Copy(io.Discard, r) // a line too long for the scanner
}

func (c *Child) words() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.last) == 0 {
		return "it said nothing"
	}
	return strings.Join(c.last, " | ")
}

// ready tells whether our Envoy is live.
func (c *Child) ready(ctx context.Context) bool {
	body, err := c.ask(ctx, http.MethodGet, "/ready")
	return err == nil && strings.HasPrefix(body, "LIVE")
}

// deaf tells whether our Envoy is live without one of its listeners. Two that start together may both bind a port, and
// the second one's listen fails: Envoy goes on without it.
func (c *Child) deaf(ctx context.Context) bool {
	stats, err := c.ask(ctx, http.MethodGet, "/stats?filter=^listener_manager.listener_create_failure$")
	return err == nil && !strings.HasSuffix(strings.TrimSpace(stats), ": 0")
}

func (c *Child) ask(ctx context.Context, method, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := c.admin.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(body), err
}

// overSocket calls an HTTP server on a Unix socket.
func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true, // Envoy may have been restarted in between
	}}
}

// Stop drains Envoy, since SIGTERM alone would cut every request, and ends it. A second call does nothing.
func (c *Child) Stop(ctx context.Context) error {
	c.cancel()
	c.mu.Lock()
	cmd := c.cmd
	c.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if cmd.Process == nil {
		<-c.done // the binary has gone; nothing runs
		return nil
	}
	if cmd.Process.Signal(syscall.Signal(0)) == nil { // else nothing is there to drain
		c.drain(ctx)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-c.done:
		return nil
	case <-time.After(killAfter):
	case <-ctx.Done():
	}
	_ = cmd.Process.Kill()
	<-c.done
	return nil
}

// drain takes the listener away, has Envoy tell clients to leave, and waits for the requests under way. It looks twice:
// a connection that was just accepted may not have sent its request yet.
func (c *Child) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	for _, call := range []string{"/drain_listeners?graceful&skip_exit", "/drain_listeners"} {
		if _, err := c.ask(ctx, http.MethodPost, call); err != nil {
			return
		}
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for idle := 0; idle < 2; {
		select {
		case <-ctx.Done():
			return
		case <-c.done:
			return
		case <-poll.C:
		}
		active, err := c.ask(ctx, http.MethodGet, "/stats?filter=^http.llm.downstream_rq_active$")
		if err != nil {
			return
		}
		idle++
		if strings.TrimSpace(active) != "http.llm.downstream_rq_active: 0" {
			idle = 0
		}
	}
}
