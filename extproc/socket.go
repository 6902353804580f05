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

// lookEvery is how often a process looks whether the socket's path still leads to it. Envoy repeats unanswered requests
// for longer than that, so that a path taken back costs none.
const lookEvery = 500 * time.Millisecond

// Socket is the path of the Unix socket that Envoy connects to. Whoever starts takes it over, so that a successor can
// serve before its predecessor stops; whoever still runs takes it back when nobody listens there any more. A TCP
// address cannot be taken over: then there is nothing to watch.
type Socket struct {
	path string // "": TCP
	gid  *int   // of whom may connect, beside our own user; nil: nobody
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
	k := &Socket{path: path, gid: cfg.SocketGID, log: log}
	k.lost.Store(&notYet)
	return k
}

var notYet = "Envoy cannot reach this process yet"

// Check says why Start could not listen on a Unix socket's Config.Listen; nil: it can. It leaves alone who listens
// there.
func Check(ctx context.Context, cfg Config) error {
	k := NewSocket(cfg, zap.NewNop())
	if k.path == "" {
		return nil
	}
	l, fresh, err := k.bind(ctx)
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
	if err == nil {
		err = os.Rename(fresh, k.path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(fresh))
	}
	k.ours = ours
	k.lost.Store(nil)
	k.warnOfClosedFolder()
	return l, nil
}

// warnOfClosedFolder tells what to do when the group cannot get to the socket: a folder that was there keeps its mode.
func (k *Socket) warnOfClosedFolder() {
	if k.gid == nil {
		return
	}
	folder := filepath.Dir(k.path)
	st, err := os.Stat(folder)
	if err != nil || st.Mode()&0o001 != 0 {
		return
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && (int64(owner.Gid) != int64(*k.gid) || st.Mode()&0o010 == 0) {
		k.log.Warn(fmt.Sprintf(
			"group %d (extproc.socket_gid) may not pass the folder of the socket: chgrp %d %s && chmod g+x %s",
			*k.gid, *k.gid, folder, folder))
	}
}

// bind listens on a fresh name beside the path.
func (k *Socket) bind(ctx context.Context) (l net.Listener, fresh string, err error) {
	folder := filepath.Dir(k.path)
	if err := k.makeFolder(folder); err != nil {
		return nil, "", fmt.Errorf("making the folder of the socket %s: %w", k.path, err)
	}
	if st, err := os.Lstat(k.path); err == nil && st.Mode()&os.ModeSocket == 0 {
		return nil, "", fmt.Errorf(
			"listening for Envoy on %s: the path exists and is no socket: remove it or choose another extproc.listen", k.path,
		)
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
	if err := k.share(fresh, 0o600, 0o660); err != nil {
		return nil, "", errors.Join(err, l.Close(), os.Remove(fresh))
	}
	return l, fresh, nil
}

// makeFolder makes what is missing of the socket's folder. One that is there already keeps its mode.
func (k *Socket) makeFolder(folder string) error {
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return k.share(folder, 0o700, 0o710)
}

// share gives a path to those who may connect: nobody else, or a group.
func (k *Socket) share(path string, alone, together os.FileMode) error {
	if k.gid == nil {
		return os.Chmod(path, alone)
	}
	if err := os.Chown(path, -1, *k.gid); err != nil {
		return fmt.Errorf("giving %s to group %d: %w: add this user to the group, or change extproc.socket_gid", path, *k.gid,
			err)
	}
	return os.Chmod(path, together)
}

// look finds out whether the path still leads here, and takes it back when it leads nowhere: then it returns what to
// serve on. Not safe for concurrent use.
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
		k.note("another process has taken over the socket " + k.path + ": new connections of Envoy go there; " +
			"stop this process or that one")
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
