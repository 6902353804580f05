package envoy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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
	Admin     string // Envoy's admin address, HOST:PORT
	Output    io.Writer
}

// Child is an Envoy that is restarted when it dies, until Stop.
type Child struct {
	cfg ChildConfig
	log *zap.Logger

	mu   sync.Mutex // guards cmd and last
	cmd  *exec.Cmd
	last []string // the latest lines of its log, for error messages

	life   context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

// NewChild prepares a Child; no I/O.
func NewChild(cfg ChildConfig, log *zap.Logger) *Child {
	c := &Child{cfg: cfg, log: log, done: make(chan struct{})}
	c.life, c.cancel = context.WithCancel(context.Background())
	return c
}

// Start runs Envoy and returns when it is ready. If it cannot start, the error holds its last words.
func (c *Child) Start(ctx context.Context) error {
	file := filepath.Join(c.cfg.RunFolder, "envoy.yaml")
	if err := errors.Join(os.MkdirAll(c.cfg.RunFolder, 0o700), os.WriteFile(file, c.cfg.Bootstrap, 0o600)); err != nil {
		return fmt.Errorf("writing Envoy's configuration: %w", err)
	}
	first := make(chan error, 1)
	go c.supervise(file, first)
	ready, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-first:
			c.cancel()
			<-c.done
			return fmt.Errorf("starting Envoy: it ended at once (%w): %s", err, c.words())
		case <-ready.Done():
			c.cancel()
			<-c.done
			return fmt.Errorf("starting Envoy: it was not ready within %s: %s", readyWithin, c.words())
		case <-poll.C:
			if c.ready(ctx) {
				return nil
			}
		}
	}
}

// supervise runs Envoy again and again. It stays on one OS thread: the death signal of a child belongs to the thread that
// forked it.
func (c *Child) supervise(file string, first chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	pause := &backoff.ExponentialBackOff{InitialInterval: 200 * time.Millisecond, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: 10 * time.Second}
	pause.Reset()
	for run := 0; c.life.Err() == nil; run++ {
		started := time.Now()
		err := c.runOnce(file)
		if c.life.Err() != nil {
			return
		}
		if run == 0 && time.Since(started) < 2*time.Second {
			first <- err
			return
		}
		if time.Since(started) > provenAfter {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		c.log.Error("Envoy ended; starting it again", zap.Error(err), zap.Duration("in", wait), zap.String("last_words", c.words()))
		select {
		case <-time.After(wait):
		case <-c.life.Done():
		}
	}
}

func (c *Child) runOnce(file string) error {
	cmd := exec.Command(c.cfg.Path, "-c", file, "--disable-hot-restart", "--log-level", "warning")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true} // Ctrl-C reaches us alone: we drain first
	cmd.Stdout = c.cfg.Output
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.last = nil
	err = cmd.Start()
	c.cmd = cmd
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
	for lines.Scan() {
		line := lines.Text()
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

func (c *Child) ready(ctx context.Context) bool {
	body, err := c.ask(ctx, http.MethodGet, "/ready")
	return err == nil && strings.HasPrefix(body, "LIVE")
}

func (c *Child) ask(ctx context.Context, method, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.cfg.Admin+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(body), err
}

// Stop drains Envoy, since SIGTERM alone would cut every request, and ends it.
func (c *Child) Stop(ctx context.Context) error {
	c.cancel()
	c.mu.Lock()
	cmd := c.cmd
	c.mu.Unlock()
	if cmd == nil || cmd.Process == nil {
		return nil
	}
	c.drain(ctx)
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

func (c *Child) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	if _, err := c.ask(ctx, http.MethodPost, "/drain_listeners?graceful&skip_exit"); err != nil {
		return
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		active, err := c.ask(ctx, http.MethodGet, "/stats?filter=^http.llm.downstream_rq_active$")
		if err != nil || strings.TrimSpace(active) == "http.llm.downstream_rq_active: 0" {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-c.done:
			return
		case <-poll.C:
		}
	}
}
