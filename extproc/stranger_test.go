package extproc

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// nobody is a user without rights, as the kernel sees it.
const nobody = 65534

// connectAs tries to connect to a Unix socket as another user, on a thread that ends with it.
func connectAs(uid int, path string) error {
	failure := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread's user does not come back
		failure <- func() error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			for _, call := range [][4]uintptr{
				{unix.SYS_SETGROUPS, 0, 0, 0},
				{unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)},
				{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)}, // of this thread alone (nptl(7))
			} {
				if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
					return errno
				}
			}
			return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}()
	}()
	return <-failure
}

func TestNobodyElseMayConnectToTheSocketWhateverItsFolderAllows(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may act as another user: run the test as root")
	}
	gid := os.Getegid()
	for name, group := range map[string]*int{"our user alone": nil, "and a group": &gid} {
		for folders, mode := range map[string]os.FileMode{"as it is made": 0, "open to all": 0o777} {
			t.Run(name+", folder "+folders, func(t *testing.T) {
				outer := short(t)
				path := filepath.Join(outer, "d", "socket")
				l, err := NewSocket(Config{Listen: "unix:" + path, SocketGID: group}, zap.NewNop()).listen(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				if err := os.Chmod(outer, 0o755); err != nil {
					t.Fatal(err)
				}
				if mode != 0 {
					if err := os.Chmod(filepath.Dir(path), mode); err != nil {
						t.Fatal(err)
					}
				}
				if err := connectAs(nobody, path); !errors.Is(err, unix.EACCES) {
					t.Errorf("got %v, want permission denied", err)
				}
				if err := connectAs(0, path); err != nil {
					t.Errorf("our own user: %v", err)
				}
			})
		}
	}
}
