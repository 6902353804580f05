package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// openWait is how long Open waits to learn whether Vault can be used.
const openWait = 5 * time.Second

// parallel is how many metadata reads are under way at most.
const parallel = 16

// Backend implements tokenstore.Backend. Safe for concurrent use.
type Backend struct {
	*kv.Backend
	link    *carrier
	stop    context.CancelFunc
	stopped chan struct{} // closed when the session's goroutine has ended
}

// Open makes a backend and logs in. It fails at once for what only another configuration can mend: impossible values,
// bad files, and, if Vault answers within 5 s, a mount that is not KV v2 or a namespace on the community edition. While
// Vault is away or refuses the login it returns a backend whose calls fail until that is over; nobody needs to open it
// again.
func Open(ctx context.Context, cfg Config, log *zap.Logger) (*Backend, error) {
	const tried = "opening the store in Vault"
	cfg, err := cfg.checked()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	d, err := newDialer(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tried, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &checker{cfg: cfg, dialer: d}
	link := &carrier{cfg: cfg, dialer: d, session: newSession(d, c.check, log)}
	b := &Backend{
		Backend: kv.New(link, kv.Config{Poll: cfg.Poll, Parallel: parallel, Log: log}),
		link:    link, stop: stop, stopped: make(chan struct{}),
	}
	go func() {
		defer close(b.stopped)
		link.session.run(life)
	}()
	wait, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	if _, err = link.session.use(wait); isKind(err, wrong) || err != nil && ctx.Err() != nil {
		return nil, errors.Join(err, b.Close()) //nolint:contextcheck // ctx may have ended
	}
	return b, nil
}

// Close ends the session and gives its token back, if it came from a login of ours.
func (b *Backend) Close() error {
	b.stop()
	<-b.stopped
	b.link.session.held().revoke()
	b.link.dialer.close()
	return nil
}

// LoginExpires returns when the service's Vault token ends unless it is renewed; zero: never, or not logged in.
func (b *Backend) LoginExpires() time.Time {
	if g := b.link.session.held(); g != nil {
		return g.until
	}
	return time.Time{}
}
