package vault

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"
)

const (
	loginTimeout = 10 * time.Second
	loginPause   = time.Second // between the starts of two logins, at least
	revokeWait   = time.Second
)

// grant is a token with the clients that use it. It is not changed once made.
type grant struct {
	token  token
	until  time.Time // zero: never expires
	jitter float64   // 0 to 1, drawn once
	reader *api.Client
	writer *api.Client
}

// session keeps the service logged in. One goroutine, run, logs in, renews and replaces; callers take the current
// grant, and tell when Vault called it dead.
type session struct {
	dialer *dialer
	method method
	check  func(context.Context, *grant) error // whether this Vault fits the configuration; asked until it does
	log    *zap.Logger

	demand chan struct{} // holds one wish for a login
	last   time.Time     // the latest login began; run's own

	mu      sync.Mutex    // guards what follows
	current *grant        // nil: not logged in
	reason  error         // why not; nil while an attempt is awaited
	trouble error         // of the latest attempt, also while current still works
	attempt chan struct{} // closed when the awaited attempt has ended
}

func newSession(d *dialer, check func(context.Context, *grant) error, log *zap.Logger) *session {
	return &session{
		dialer: d, method: d.cfg.method(), check: check, log: log,
		demand: make(chan struct{}, 1), attempt: make(chan struct{}),
	}
}

// use returns the current grant. It waits for an attempt to log in that is awaited, and fails at once when the latest
// failed.
func (s *session) use(ctx context.Context) (*grant, error) {
	for {
		s.mu.Lock()
		g, reason, attempt := s.current, s.reason, s.attempt
		s.mu.Unlock()
		if g != nil {
			return g, nil
		}
		if reason != nil {
			s.ask()
			return nil, reason
		}
		select {
		case <-attempt:
		case <-ctx.Done():
			return nil, &failure{kind: away, tried: "logging in to Vault", wrong: ctx.Err().Error(), cause: ctx.Err()}
		}
	}
}

// replace says that Vault called g dead and returns the grant that comes after it. However many callers met the same
// dead token, there is one login.
func (s *session) replace(ctx context.Context, g *grant) (*grant, error) {
	s.mu.Lock()
	if s.current == g {
		s.current, s.reason = nil, nil
		if s.trouble != nil && !isKind(s.trouble, away) {
			s.reason = s.trouble // the next attempt may be far and fail too
		}
	}
	s.mu.Unlock()
	s.ask()
	return s.use(ctx)
}

func (s *session) ask() {
	select {
	case s.demand <- struct{}{}:
	default:
	}
}

func (s *session) held() *grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// settle ends an attempt: with a grant, or with the reason why there is none. A grant that still works is not given up
// for the failure to replace it.
func (s *session) settle(g *grant, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = err
	switch {
	case err == nil:
		s.current, s.reason = g, nil
	case s.current == nil:
		s.reason = err
	}
	close(s.attempt)
	s.attempt = make(chan struct{})
}

// run keeps the session until ctx ends.
func (s *session) run(ctx context.Context) {
	pauses := backoff.ExponentialBackOff{
		InitialInterval:     time.Second,
		Multiplier:          2,
		RandomizationFactor: 0.3,
		MaxInterval:         30 * time.Second,
	}
	pauses.Reset()
	for failing := false; ctx.Err() == nil; {
		if !failing {
			s.waitUntilDue(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		g, err := s.next(ctx)
		s.settle(g, err)
		if ctx.Err() != nil {
			return
		}
		s.tell(err, failing)
		if failing = err != nil; failing {
			s.rest(ctx, pauses.NextBackOff(), isKind(err, away)) // asking again does not mend a wrong secret
			continue
		}
		pauses.Reset()
	}
}

// waitUntilDue waits until the current grant is to be renewed or is gone.
func (s *session) waitUntilDue(ctx context.Context) {
	for ctx.Err() == nil {
		if g := s.held(); g == nil || s.rest(ctx, g.renewIn(time.Now()), true) {
			return
		}
	}
}

// next renews the current grant, or logs in when there is none or it cannot be renewed.
func (s *session) next(ctx context.Context) (*grant, error) {
	if g := s.held(); g != nil && g.token.renewable {
		if g, err := s.renew(ctx, g); !isKind(err, dead) {
			return g, err
		}
	}
	s.rest(ctx, loginPause-time.Since(s.last), false)
	s.last = time.Now()
	return s.logIn(ctx)
}

// rest waits for d, 0 or less: not at all. It reports whether d is over; false: the context ended, or somebody asked
// and may.
func (s *session) rest(ctx context.Context, d time.Duration, askable bool) bool {
	demand := s.demand
	if !askable {
		demand = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-demand:
	case <-ctx.Done():
	}
	return false
}

func (s *session) tell(err error, failing bool) {
	switch {
	case err != nil && !failing:
		s.log.Warn("the login to Vault does not work; trying on", zap.Error(err))
	case err == nil && failing:
		s.log.Info("the login to Vault works again")
	}
}

func (s *session) logIn(ctx context.Context) (*grant, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	t, err := s.dialer.login(ctx, s.method)
	if err != nil {
		return nil, err
	}
	g, err := s.grant(t)
	if err == nil {
		err = s.check(ctx, g)
	}
	if err != nil {
		g.revoke() //nolint:contextcheck // ctx may have ended
		return nil, err
	}
	return g, nil
}

// renew returns g with a new life. A token near the end of what Vault allows comes back as not renewable.
func (s *session) renew(ctx context.Context, g *grant) (*grant, error) {
	t, err := renew(ctx, g.writer, g.token)
	switch {
	case err == nil:
		t.renewable = t.renewable && t.ttl > g.token.ttl/2
		return s.grant(t)
	case isKind(err, away), isKind(err, dead):
		return g, err
	}
	t = g.token // Vault will not renew it
	t.ttl, t.renewable = time.Until(g.until), false
	return s.grant(t)
}

func (s *session) grant(t token) (*grant, error) {
	reader, err := s.dialer.reader(t.value)
	writer, err2 := s.dialer.writer(t.value)
	g := &grant{token: t, jitter: rand.Float64(), reader: reader, writer: writer} //nolint:gosec // no secret
	if t.ttl > 0 {
		g.until = time.Now().Add(t.ttl)
	}
	return g, errors.Join(err, err2)
}

// renewIn is when a grant wants to be renewed or replaced: at two thirds of its life, a tenth of that sooner at most,
// so that replicas that started together spread.
func (g *grant) renewIn(now time.Time) time.Duration {
	if g.until.IsZero() {
		return 1<<63 - 1
	}
	start := g.until.Add(-g.token.ttl)
	due := time.Duration(float64(g.token.ttl) * 2 / 3 * (1 - g.jitter/10))
	return start.Add(due).Sub(now)
}

// revoke gives a token back that we logged in for, as well as that works.
func (g *grant) revoke() {
	if g == nil || !g.token.owned || g.writer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeWait)
	defer cancel()
	_, _ = g.writer.Logical().WriteWithContext(ctx, "auth/token/revoke-self", nil)
}
