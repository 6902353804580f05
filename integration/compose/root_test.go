package compose

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// usualPath is PATH in the images of Debian, Alpine and distroless.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// bind shows a file or folder at another path. The mount is in this test's namespace alone, and gone with it.
func bind(from, to string, readOnly bool) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := mountpoint(to, st.IsDir()); err != nil {
		return err
	}
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", from, to, err)
	}
	if readOnly {
		return seal(to)
	}
	return nil
}

func seal(path string) error {
	return syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

func mountpoint(path string, folder bool) error {
	if folder {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// debian makes a root of this machine's programs, in place of an image that is Debian's or Ubuntu's.
func debian(root string) error {
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	return bind("/usr", filepath.Join(root, "usr"), true)
}

// alpine makes a root of BusyBox and nothing else, in place of an image that is Alpine's.
func alpine(busybox, root string) error {
	bin := filepath.Join(root, "bin")
	if err := errors.Join(os.MkdirAll(bin, 0o755), copyAs(busybox, filepath.Join(bin, "busybox"), "")); err != nil {
		return err
	}
	names, err := exec.Command(busybox, "--list").Output()
	for name := range strings.FieldsSeq(string(names)) {
		if name != "busybox" {
			err = errors.Join(err, os.Symlink("busybox", filepath.Join(bin, name)))
		}
	}
	return err
}

// system adds what an engine puts into every container.
func system(root string) error {
	for _, dir := range []string{"proc", "tmp", "dev", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	hosts := []byte("127.0.0.1 localhost\n::1 localhost\n")
	errs := []error{
		os.Chmod(filepath.Join(root, "tmp"), os.ModeSticky|0o777),
		os.WriteFile(filepath.Join(root, "etc", "hosts"), hosts, 0o644),
		syscall.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""),
	}
	for _, device := range []string{"null", "zero", "random", "urandom"} {
		errs = append(errs, bind("/dev/"+device, filepath.Join(root, "dev", device), false))
	}
	return errors.Join(errs...)
}

// inRoot prepares a program in a root folder. It gets the environment that is given and nothing more, no capabilities
// unless its user is root, and process id 1 of a namespace of its own.
func inRoot(root, dir, user string, env []string, program string, args ...string) *exec.Cmd {
	var uid, gid uint32
	if _, err := fmt.Sscanf(user, "%d:%d", &uid, &gid); err != nil {
		panic(fmt.Sprintf("user %q must be given as two numbers: %v", user, err))
	}
	cmd := &exec.Cmd{Path: find(root, env, program), Args: append([]string{program}, args...), Dir: dir, Env: env}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     root,
		Credential: &syscall.Credential{Uid: uid, Gid: gid},
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
	}
	return cmd
}

// find looks a program up on the PATH that it will see.
func find(root string, env []string, program string) string {
	if strings.Contains(program, "/") {
		return program
	}
	for _, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			for dir := range strings.SplitSeq(path, ":") {
				if _, err := os.Stat(filepath.Join(root, dir, program)); err == nil {
					return filepath.Join(dir, program)
				}
			}
		}
	}
	return strconv.Quote(program) + " is not on PATH"
}
