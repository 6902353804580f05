package extproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// lookEvery is how often a process looks whether the socket's path still leads to it. Envoy repeats unanswered requests for
// longer than that, so that a path taken back costs none.
const lookEvery = 500 * time.Millisecond

// Socket is the path of the Unix socket that Envoy connects to. Whoever starts takes it over, so that a successor can serve
// before its predecessor stops; whoever still runs takes it back when nobody listens there any more. A TCP address cannot
// be taken over: then there is nothing to watch.
type Socket struct {
	path string // "": TCP
	log  *zap.Logger
	ours os.FileInfo            // what this process put at the path
	lost atomic.Pointer[string] // why new connections do not come here; nil: they do
}

// NewSocket prepares the socket of Config.Listen. No I/O.
func NewSocket(cfg Config, log *zap.Logger) *Socket {
	path, unix := strings.CutPrefix(cfg.Listen, "unix:")
	if !unix {
		path = ""
	}
	k := &Socket{path: path, log: log}
	k.lost.Store(&notYet)
	return k
}

var notYet = "Envoy cannot reach this process yet"

// Check says why Start could not listen on an address of Config.Listen; nil: it can. It leaves alone who listens there.
func Check(ctx context.Context, address string) error {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return nil
	}
	l, fresh, err := (&Socket{path: path}).bind(ctx)
	if err != nil {
		return err
	}
	return errors.Join(l.Close(), os.Remove(fresh))
}

// NotReady returns why new connections of Envoy do not come to this process; none: they do.
func (k *Socket) NotReady() []string {
	if why := k.lost.Load(); why != nil {
		return []string{*why}
	}
	return nil
}

// listen binds the path by way of a rename, so that at every instant somebody listens on it.
func (k *Socket) listen(ctx context.Context) (net.Listener, error) {
	l, fresh, err := k.bind(ctx)
	if err != nil {
		return nil, err
	}
	ours, err := os.Lstat(fresh)
	if err = errors.Join(err, os.Chmod(fresh, 0o660)); err == nil {
		err = os.Rename(fresh, k.path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(fresh))
	}
	k.ours = ours
	k.lost.Store(nil)
	return l, nil
}

// bind listens on a fresh name beside the path.
func (k *Socket) bind(ctx context.Context) (l net.Listener, fresh string, err error) {
	folder := filepath.Dir(k.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, "", fmt.Errorf("making the folder of the socket %s: %w", k.path, err)
	}
	if st, err := os.Lstat(k.path); err == nil && st.Mode()&os.ModeSocket == 0 {
		return nil, "", fmt.Errorf("listening for Envoy on %s: the path exists and is no socket: remove it or choose another extproc.listen", k.path)
	}
	fresh = filepath.Join(folder, fmt.Sprintf(".%d", os.Getpid())) // short: a socket's path has at most 107 bytes
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", err
	}
	if l, err = (&net.ListenConfig{}).Listen(ctx, "unix", fresh); err != nil {
		return nil, "", fmt.Errorf("listening for Envoy on %s: %w: choose another extproc.listen", k.path, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // by then the path may be a successor's
	}
	return l, fresh, nil
}

// look finds out whether the path still leads here, and takes it back when it leads nowhere: then it returns what to serve
// on. Not safe for concurrent use.
func (k *Socket) look(ctx context.Context) net.Listener {
	if now, err := os.Lstat(k.path); err == nil && os.SameFile(now, k.ours) {
		k.note("")
		return nil
	}
	err := knock(ctx, k.path)
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		k.note("another process has taken over the socket " + k.path + ": new connections of Envoy go there; stop this process or that one")
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist):
		k.note("the socket " + k.path + " is another one now, and who listens there cannot be told: " + err.Error())
		return nil
	}
	l, err := k.listen(ctx)
	if err != nil {
		k.note("the socket " + k.path + " led nowhere and could not be taken back: " + err.Error())
		return nil
	}
	k.log.Warn("the socket's path led nowhere: took it back", zap.String("path", k.path))
	return l
}

// note keeps why connections do not come here, "" when they do, and logs what is new.
func (k *Socket) note(why string) {
	switch had := k.lost.Load(); {
	case why == "" && had != nil:
		k.lost.Store(nil)
		k.log.Info("the socket's path leads here again", zap.String("path", k.path))
	case why != "" && (had == nil || *had != why):
		k.lost.Store(&why)
		k.log.Warn(why)
	}
}

// Served reports whether a process answers on a Unix socket that Start would take over.
func Served(ctx context.Context, address string) bool {
	path, unix := strings.CutPrefix(address, "unix:")
	return unix && knock(ctx, path) == nil
}

func knock(ctx context.Context, path string) error {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	return err
}
