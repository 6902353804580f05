// Package port reserves TCP ports for programs that a test starts.
//
// A reserved port is bound by this process, with SO_REUSEADDR and without listening, until this process ends. So the
// kernel gives it to nobody who asks for any port, and a program that names it can still listen there, as long as it
// sets SO_REUSEADDR too, which Go, Envoy and Vault do (Linux, ip(7) and socket(7)). Until then connections are refused.
package port

import (
	"fmt"
	"net/netip"
	"syscall"
)

// Reserve returns a port of 127.0.0.1 that is reserved until this process ends.
func Reserve() (netip.AddrPort, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	loopback := [4]byte{127, 0, 0, 1}
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: loopback})
	}
	var at syscall.Sockaddr
	if err == nil {
		at, err = syscall.Getsockname(fd)
	}
	v4, ok := at.(*syscall.SockaddrInet4)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("reserving a port of 127.0.0.1: %w", err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(v4.Port)), nil // a port
}

// Address is a reserved port as HOST:PORT. It panics where there is none: without ports there is no test.
func Address() string {
	a, err := Reserve()
	if err != nil {
		panic(err)
	}
	return a.String()
}
