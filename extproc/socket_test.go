package extproc

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// bound is a socket that a process of its own might hold.
type bound struct {
	*Socket
	listener net.Listener
	logs     *observer.ObservedLogs
}

func bind(t *testing.T, path string) *bound {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	b := &bound{Socket: NewSocket(Config{Listen: "unix:" + path}, zap.New(core)), logs: logs}
	l, err := b.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.listener = l
	t.Cleanup(func() { _ = b.listener.Close() })
	return b
}

// looks lets it look several times and checks whether it takes the path back once.
func (b *bound) looks(t *testing.T, back bool) {
	t.Helper()
	taken := 0
	for range 3 {
		if l := b.look(t.Context()); l != nil {
			_ = b.listener.Close()
			b.listener = l
			taken++
		}
	}
	if taken != map[bool]int{true: 1}[back] {
		t.Errorf("the path was taken back %d times", taken)
	}
}

func (b *bound) says(t *testing.T, warnings int, why string) {
	t.Helper()
	if n := b.logs.FilterLevelExact(zap.WarnLevel).Len(); n != warnings {
		t.Errorf("%d warnings: %v", n, b.logs.All())
	}
	if reasons := strings.Join(b.NotReady(), ";"); (why == "") != (reasons == "") || !strings.Contains(reasons, why) {
		t.Errorf("not ready: %q", reasons)
	}
}

func TestASocketsPathMayBeAsLongAsTheKernelAllows(t *testing.T) {
	folder, err := os.MkdirTemp("", "socket") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, strings.Repeat("s", 107-len(folder)-1)) // sun_path less its NUL (unix(7))
	bind(t, path)
	bind(t, path)
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 || !Served(t.Context(), "unix:"+path) {
		t.Errorf("after a take-over the folder holds %v (%v)", left, err)
	}
}

// short is a folder whose path leaves room for a socket's name.
func short(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "s") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

func TestASuccessorIsNoticedOnceAndLeftAloneWhileItLives(t *testing.T) {
	path := filepath.Join(short(t), "socket")
	first := bind(t, path)
	first.looks(t, false)
	first.says(t, 0, "")
	second := bind(t, path)
	first.looks(t, false)
	first.says(t, 1, "another process has taken over the socket "+path)
	second.looks(t, false)
	second.says(t, 0, "")
}

func TestAPathThatLeadsNowhereIsTakenBack(t *testing.T) {
	for name, leave := range map[string]func(second *bound, path string) error{
		"its successor ended": func(second *bound, _ string) error { return second.listener.Close() },
		"the file is gone":    func(_ *bound, path string) error { return os.Remove(path) },
		"the folder is gone":  func(_ *bound, path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(short(t), "d", "socket")
			first := bind(t, path)
			second := bind(t, path)
			first.looks(t, false)
			if err := leave(second, path); err != nil {
				t.Fatal(err)
			}
			first.looks(t, true)
			first.says(t, 2, "")
			if !Served(t.Context(), "unix:"+path) {
				t.Error("nobody listens")
			}
		})
	}
}

func TestAPathThatCannotBeTakenBackIsSaidOnceAndTakenWhenItCan(t *testing.T) {
	path := filepath.Join(short(t), "socket")
	first := bind(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first.looks(t, false)
	first.says(t, 1, "is no socket: remove it")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	first.looks(t, true)
	first.says(t, 2, "")
}
