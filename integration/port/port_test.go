package port

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

func TestAReservedPortIsHeldForWhoNamesIt(t *testing.T) {
	address := Address()
	if c, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection before anybody listens: %v, %v", c, err)
	}
	strict := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
		})
	}}
	if l, err := strict.Listen(t.Context(), "tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("who shares nothing got it: %v, %v", l, err)
	}
	for range 2 { // a program that ends and comes again
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestNoPortIsReservedTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		a := Address()
		if seen[a] {
			t.Fatalf("%s comes twice", a)
		}
		seen[a] = true
	}
}
