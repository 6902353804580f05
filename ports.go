package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/extproc"
)

// port is an address of the configuration that somebody is to listen on.
type port struct {
	whom    string // who calls there
	key     string // of the configuration
	address string // HOST:PORT
}

// ports are this process's own, bound before anything is refreshed: a process that cannot get one must not have spent a
// refresh token.
type ports struct {
	admin   net.Listener // nil: a predecessor holds it, and is waited for
	extproc net.Listener // nil: a Unix socket, which is taken over last
}

// bindPorts takes this process's ports and looks whether Envoy will get its own, if there is one. succeeds: a
// predecessor serves, and hands admin.listen over when it ends.
func bindPorts(ctx context.Context, c *config.Config, withEnvoy, succeeds bool) (ports, error) {
	var p ports
	var err error
	p.admin, err = port{"operators", "admin.listen", c.Admin.Listen}.bind(ctx)
	if succeeds && errors.Is(err, syscall.EADDRINUSE) {
		err = nil
	}
	if err == nil {
		p.extproc, err = bindExtProc(ctx, extprocConfig(c))
	}
	if err == nil && withEnvoy {
		err = envoyBlocked(ctx, c)
	}
	if err != nil {
		p.close()
	}
	return p, err
}

func bindExtProc(ctx context.Context, cfg extproc.Config) (net.Listener, error) {
	if tcp, ok := strings.CutPrefix(cfg.Listen, "tcp://"); ok {
		return port{"Envoy", "extproc.listen", tcp}.bind(ctx)
	}
	return nil, extproc.Check(ctx, cfg)
}

// close gives back what nobody serves on. Closing twice does no harm.
func (p ports) close() {
	for _, l := range []net.Listener{p.admin, p.extproc} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// envoyBlocked says why Envoy cannot listen where its configuration tells it to.
func envoyBlocked(ctx context.Context, c *config.Config) error {
	clients, operators := port{
		"clients", "envoy.listen", c.Envoy.Listen,
	}, port{"Envoy's operators", "envoy.admin", c.Envoy.Admin}
	for _, p := range []port{clients, operators} {
		l, err := p.bind(ctx)
		if err != nil {
			return err
		}
		_ = l.Close() // Envoy binds it itself, in a moment
	}
	return nil
}

func (p port) bind(ctx context.Context) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, p.network(), p.address)
	if err == nil {
		return l, nil
	}
	remedy := "choose another " + p.key
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "stop the tokenward, or whatever else runs there, or " + remedy
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "this machine has no such address: " + remedy
	case errors.Is(err, syscall.EACCES):
		remedy = "ports below 1024 need the right to bind them (CAP_NET_BIND_SERVICE): grant it, or " + remedy
	}
	return nil, fmt.Errorf("listening for %s on %s: %w: %s", p.whom, p.address, err, remedy)
}

// network is Envoy's for its own addresses, which never serve both families.
func (p port) network() string {
	host, _, err := net.SplitHostPort(p.address)
	ip := net.ParseIP(host)
	switch {
	case err != nil || !strings.HasPrefix(p.key, "envoy."):
		return "tcp"
	case ip != nil && ip.To4() == nil:
		return "tcp6"
	}
	return "tcp4"
}
