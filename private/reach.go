package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// mostLinks is how many symbolic links a path may lead through, as in Linux (path_resolution(7)).
const mostLinks = 40

// Host is the machine, as far as it can be relied on.
type Host struct {
	// Trusted are folders that others may write and that are used all the same, e.g. a volume that a pod's containers
	// share. Nothing above them is looked at either.
	Trusted []string
	// LookOnly: nothing is made.
	LookOnly bool
}

// ExposedError says what another user of the machine could change, and what to do.
type ExposedError struct {
	Path, Why string
	Folder    bool
}

func (e *ExposedError) Error() string { return e.Path + " " + e.Why }

// Folder makes the folder (0700) when it is missing, unless LookOnly, and refuses it when another user could replace it
// or what is in it.
func (h Host) Folder(path string) error {
	if err := h.walk(path); err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil || h.LookOnly {
		return nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return h.walk(path) // somebody may have been quicker, where everybody may make folders
}

// Found is Folder for one that somebody else makes, with a mode of its own, when it is missing.
func (h Host) Found(path string) error { return h.walk(path) }

// File refuses a file that belongs to another user or that others may write, and one in a folder that Folder refuses.
// It may be missing.
func (h Host) File(path string) error {
	if err := h.Folder(filepath.Dir(path)); err != nil {
		return err
	}
	return h.walk(path)
}

// walk looks at everything that a path leads through, symbolic links and their targets too. Nobody but us may
// write at its end. What is missing ends the walk: it is ours to make.
func (h Host) walk(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var found error
	at, rest, links := "/", parts(path), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == ".." { // of a link's target
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		st, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return found
		}
		if err != nil {
			return err
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			if links++; links > mostLinks {
				return fmt.Errorf("%s leads through too many symbolic links", path)
			}
			target, err := os.Readlink(next)
			if err != nil {
				return err
			}
			if found == nil {
				found = owned(next, st)
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(parts(target), rest...)
			continue
		}
		at = next
		switch {
		case st.IsDir() && h.trusts(st):
			found = nil
		case found != nil: // one is enough to tell
		case len(rest) == 0:
			found = errors.Join(owned(next, st), closed(next, st, st.Mode().Perm()&0o022))
		default:
			found = errors.Join(owned(next, st), closed(next, st, othersMay(st)))
		}
	}
	return found
}

func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

func (h Host) trusts(st fs.FileInfo) bool {
	return slices.ContainsFunc(h.Trusted, func(path string) bool {
		trusted, err := os.Stat(path)
		return err == nil && os.SameFile(trusted, st)
	})
}

// owned refuses what belongs to somebody who is neither us nor root.
func owned(path string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || ours(sys.Uid) {
		return nil
	}
	why := fmt.Sprintf("belongs to user %d, who could change it: run tokenward as that user, or chown it", sys.Uid)
	return &ExposedError{path, why, st.IsDir()}
}

// ours reports whether a user is root, we, or who called us by sudo.
func ours(uid uint32) bool {
	we := os.Geteuid()
	if uid == 0 || int(uid) == we {
		return true
	}
	caller, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32)
	return we == 0 && err == nil && uint64(uid) == caller
}

func closed(path string, st fs.FileInfo, open fs.FileMode) error {
	if open == 0 {
		return nil
	}
	mode := fmt.Sprintf("%04o", st.Mode().Perm())
	if st.Mode()&fs.ModeSticky != 0 {
		mode = "1" + mode[1:]
	}
	return &ExposedError{
		path, "can be written by other users (mode " + mode + "): chmod go-w it, or name another", st.IsDir(),
	}
}

// othersMay returns the rights by which others could rename what is in a folder. In one with the sticky bit they could
// not, and a group that bears its owner's name has nobody else in it (useradd(8), USERGROUPS_ENAB).
func othersMay(st fs.FileInfo) fs.FileMode {
	if st.Mode()&fs.ModeSticky != 0 {
		return 0
	}
	open := st.Mode().Perm() & 0o022
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && open == 0o020 && ownGroup(sys.Uid, sys.Gid) {
		return 0
	}
	return open
}
