package admin

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// What one caller may use up. The port takes file descriptors of the process that Envoy asks for tokens, and whoever
// reaches it can connect.
const (
	mostConnections = 256
	headWithin      = 5 * time.Second
	requestWithin   = 10 * time.Second // head and body
	answerWithin    = time.Minute      // from the end of the head on; see patient
	idleFor         = time.Minute
	mostHeader      = 64 << 10 // bytes; browsers send the cookies of all that runs on this host
)

// patient gives a call that may wait so long the time for it.
func patient(w http.ResponseWriter, wait time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + answerWithin)) // a test's writer has none
}

// bounded is a listener with at most so many connections. Newcomers are let in, since one of them may be a probe or an
// operator; the one that has been there longest without an authorised call under way makes room.
type bounded struct {
	net.Listener
	most int

	mu    sync.Mutex // guards what follows
	conns list.List  // of *connection, the oldest first
}

type connection struct {
	net.Conn
	of *bounded

	// guarded by of.mu
	place *list.Element // nil: closed
	calls int           // authorised, under way
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	raw, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: raw, of: b}
	b.mu.Lock()
	c.place = b.conns.PushBack(c)
	leaves := b.surplus()
	b.mu.Unlock()
	if leaves != nil {
		_ = leaves.Close()
	}
	return c, nil
}

// surplus is the connection that makes room, if one has to. Called with mu held.
func (b *bounded) surplus() *connection {
	if b.conns.Len() <= b.most {
		return nil
	}
	for e := b.conns.Front(); e != nil; e = e.Next() {
		if c, ok := e.Value.(*connection); ok && c.calls == 0 {
			return c
		}
	}
	return nil // never: the newest has no call yet
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	if c.place != nil {
		c.of.conns.Remove(c.place)
		c.place = nil
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// connectionKey is where a request's context has its *connection.
type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// keep holds the connection of an authorised call until done is called.
func keep(r *http.Request) (done func()) {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return func() {} // a test without a listener
	}
	count := func(n int) {
		c.of.mu.Lock()
		defer c.of.mu.Unlock()
		c.calls += n
	}
	count(1)
	return func() { count(-1) }
}
