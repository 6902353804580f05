package compose

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// engine runs the services of a project as processes.
type engine struct {
	project
	builder *builder
	folder  string // of roots and volumes; removed from outside, when all mounts are gone
	vendor  map[string]func(root string) error
	running map[string]*container
	started []string // in order
	log     output
}

// output gathers what the services say.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

type container struct {
	service
	root, dir string
	env       []string
	cmd       *exec.Cmd
	ended     chan struct{} // closed when cmd has ended
}

// up starts every service when its conditions are met, and returns when all are up.
func (e *engine) up(t *testing.T) {
	t.Helper()
	e.running, e.started = map[string]*container{}, nil
	for _, name := range slices.Sorted(maps.Keys(e.Services)) {
		e.start(t, name)
	}
	for _, name := range e.started {
		if e.Services[name].Healthcheck != nil {
			e.await(t, name, "service_healthy")
		}
	}
}

func (e *engine) start(t *testing.T, name string) {
	t.Helper()
	if e.running[name] != nil {
		return
	}
	s := e.Services[name]
	for _, other := range slices.Sorted(maps.Keys(s.DependsOn)) {
		e.start(t, other)
		e.await(t, other, s.DependsOn[other].Condition)
	}
	c, argv, err := e.create(name, s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c.cmd = inRoot(c.root, c.dir, s.User, c.env, argv[0], argv[1:]...)
	c.cmd.Stdout, c.cmd.Stderr = &e.log, &e.log
	if s.NetworkMode == "none" {
		c.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		_ = c.cmd.Wait() // the state is looked at
		close(c.ended)
	}()
	e.running[name], e.started = c, append(e.started, name)
}

// create makes the container's root folder and says what runs in it.
func (e *engine) create(name string, s service) (*container, []string, error) {
	i, err := e.image(s)
	if err != nil {
		return nil, nil, err
	}
	c := &container{
		service: s,
		root:    filepath.Join(e.folder, fmt.Sprintf("%s-%d", name, time.Now().UnixNano())),
		dir:     i.dir,
		ended:   make(chan struct{}),
	}
	c.env = []string{"PATH=" + usualPath, "HOME=/", "HOSTNAME=" + name}
	for _, key := range slices.Sorted(maps.Keys(s.Environment)) {
		c.env = append(c.env, key+"="+s.Environment[key])
	}
	entrypoint, command := i.entrypoint, i.command
	if s.Entrypoint != nil {
		entrypoint, command = s.Entrypoint, nil
	}
	if s.Command != nil {
		command = s.Command
	}
	return c, slices.Concat(entrypoint, command), e.furnish(c, i)
}

// image is what a service starts from: a stage of the Dockerfile, or what stands in for somebody's image.
func (e *engine) image(s service) (image, error) {
	owner, joins := strings.CutPrefix(s.NetworkMode, "service:")
	if s.NetworkMode != "none" && (joins == (len(s.Ports) > 0) || joins && len(e.Services[owner].Ports) == 0) {
		return image{}, fmt.Errorf("network_mode %q: here is one network namespace, that of the service with ports",
			s.NetworkMode)
	}
	if s.Build == nil {
		if e.vendor[s.Image] == nil {
			return image{}, fmt.Errorf("the image %s: this test has nothing in its place", s.Image)
		}
		return image{dir: "/", fill: e.vendor[s.Image]}, nil
	}
	i, err := e.builder.final(s.Build.Target)
	if err == nil && i.user != s.User {
		err = fmt.Errorf("the image is made for user %q", i.user)
	}
	return i, err
}

// furnish fills the root folder and mounts what belongs there.
func (e *engine) furnish(c *container, i image) error {
	if err := os.Mkdir(c.root, 0o755); err != nil {
		return err
	}
	if err := i.fill(c.root); err != nil {
		return err
	}
	// A mount of its own, to become read-only; the others go on top of it.
	if err := syscall.Mount(c.root, c.root, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	if err := system(c.root); err != nil {
		return err
	}
	for _, m := range c.Volumes {
		if err := e.mount(c.root, m); err != nil {
			return err
		}
	}
	if c.ReadOnly {
		return seal(c.root)
	}
	return nil
}

// mount mounts a bind or a volume. A fresh volume gets what the image has at its path, owner and mode included.
func (e *engine) mount(root string, m mount) error {
	to := filepath.Join(root, m.Target)
	if m.Type == "bind" {
		return bind(m.Source, to, m.ReadOnly)
	}
	if _, ok := e.project.Volumes[m.Source]; !ok || m.Type != "volume" {
		return fmt.Errorf("mount of type %s, source %s: this test knows bind mounts and named volumes", m.Type, m.Source)
	}
	volume := filepath.Join(e.folder, "volume-"+m.Source)
	if _, err := os.Stat(volume); err != nil {
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := shell(`cp -a -T -- "$1" "$2"`, to, volume); err != nil {
			return err
		}
	}
	return bind(volume, to, m.ReadOnly)
}

// await waits for a condition of depends_on.
func (e *engine) await(t *testing.T, name, condition string) {
	t.Helper()
	c := e.running[name]
	switch condition {
	case "service_started":
	case "service_completed_successfully":
		select {
		case <-c.ended:
		case <-time.After(time.Minute):
			t.Fatalf("%s does not end:\n%s", name, &e.log)
		}
		if code := c.cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("%s ended with %d:\n%s", name, code, &e.log)
		}
	case "service_healthy":
		h := c.Healthcheck
		if h == nil || h.Test[0] != "CMD" {
			t.Fatalf("%s: health check %v: this test knows CMD", name, h)
		}
		var out string
		var err error
		for range h.Retries {
			if out, err = c.exec(time.Duration(h.Timeout), h.Test[1:]...); err == nil {
				return
			}
			select {
			case <-c.ended:
				t.Fatalf("%s has ended:\n%s", name, &e.log)
			case <-time.After(time.Duration(h.Interval)):
			}
		}
		t.Fatalf("%s does not become healthy: %v: %s\n%s", name, err, out, &e.log)
	default:
		t.Fatalf("%s: condition %s: this test cannot imitate it", name, condition)
	}
}

// exec runs a program in a container, as docker compose exec does.
func (c *container) exec(timeout time.Duration, argv ...string) (string, error) {
	cmd := inRoot(c.root, c.dir, c.User, c.env, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.Writer(&out)
	if err := cmd.Start(); err != nil {
		return "", err
	}
	defer time.AfterFunc(timeout, func() { _ = cmd.Process.Kill() }).Stop()
	err := cmd.Wait()
	return out.String(), err
}

// down stops the services in reverse order, as docker compose stop does: SIGTERM, then SIGKILL after the grace period.
func (e *engine) down(t *testing.T) {
	t.Helper()
	for _, name := range slices.Backward(e.started) {
		c, grace := e.running[name], 10*time.Second // Docker's
		if c.StopGrace > 0 {
			grace = time.Duration(c.StopGrace)
		}
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-c.ended:
		case <-time.After(grace):
			t.Errorf("%s does not stop within %s", name, grace)
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
		if code := c.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %d (%s)", name, code, c.cmd.ProcessState)
		}
	}
}
