package extproc

import (
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// users are who may connect to the Unix socket: this process's own user, and the members of a group.
type users struct{ uid, gid int } // gid -1: no group

func newUsers(gid *int) users {
	u := users{os.Geteuid(), -1}
	if gid != nil {
		u.gid = *gid
	}
	return u
}

// admit returns an error unless the kernel says that the peer is one of them (unix(7), SO_PEERCRED).
func (u users) admit(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var groups []uint32
	var failure error
	if err := raw.Control(func(fd uintptr) {
		peer, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if failure == nil && u.gid >= 0 {
			groups = peerGroups(fd)
		}
	}); err != nil {
		return err
	}
	if failure != nil {
		return fmt.Errorf("asking the kernel who the peer is: %w", failure)
	}
	if u.match(peer, groups) {
		return nil
	}
	return fmt.Errorf("the peer is process %d of user %d, group %d: "+
		"run Envoy as user %d, or name a group of its in extproc.socket_gid", peer.Pid, peer.Uid, peer.Gid, u.uid)
}

func (u users) match(peer *unix.Ucred, groups []uint32) bool {
	if int64(peer.Uid) == int64(u.uid) {
		return true
	}
	return u.gid >= 0 && slices.Contains(append(groups, peer.Gid), uint32(u.gid)) //nolint:gosec // it is not negative
}

// peerGroups are the peer's supplementary groups (SO_PEERGROUPS, Linux 4.13); none where the kernel does not tell.
func peerGroups(fd uintptr) []uint32 {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4) //nolint:gosec // the kernel knows 65536 groups at most
		//nolint:gosec // x/sys/unix has no call for it; both pointers live until the kernel is done
		_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && int(size) > len(groups)*4:
			groups = make([]uint32, size/4)
		case errno != 0:
			return nil
		default:
			return groups[:size/4]
		}
	}
}
