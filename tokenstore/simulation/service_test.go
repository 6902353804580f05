package simulation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

const (
	endpointTimeout = 5 * time.Second
	backoffMost     = 30 * time.Second
	refreshWait     = 10 * time.Second
	poll            = 15 * time.Second // of the looks for changes
)

var (
	errDead = errors.New("simulated: this process is dead")
	errAway = errors.New("simulated: the store does not answer")
)

// service is a place where processes run, one after the other: its disk and its wall clock outlive them.
type service struct {
	w      *world
	number int
	shift  time.Duration // of its wall clock
	disk   *disk
	now    *life // nil while it is down
	lives  int
	gone   bool      // for ever
	cutOff time.Time // from the store, until then
}

// life is one process. When it has died, none of its operations takes effect any more, and what it still does in memory
// is nobody's business.
type life struct {
	*service
	name    string // s1.2: the second life of the first service
	store   *tokenstore.Store
	dead    bool
	crashed bool          // the same, but not by an orderly stop
	stopped time.Duration // how long that took
	died    chan struct{}
	at      time.Duration // of its death
	up      chan struct{} // closed when Start has returned
	ready   bool
	ctx     context.Context // of the clients of this life
	end     context.CancelFunc
	born    time.Duration
	version tokenstore.Version    // of the latest write
	claims  map[int]time.Duration // when its latest claim of an account was written

	has     map[string]time.Duration // refresh tokens that it has met in records that it could use, and since when
	refused map[string]bool          // access tokens that its clients were refused with
	forced  map[string]int           // forced refreshes under way, by account
}

// launch begins a life. The lock is held.
func (s *service) launch() {
	s.lives++
	l := &life{
		service: s, name: fmt.Sprintf("s%d.%d", s.number+1, s.lives), died: make(chan struct{}), up: make(chan struct{}),
		born:    s.w.now(),
		refused: map[string]bool{}, has: map[string]time.Duration{}, forced: map[string]int{},
		claims: map[int]time.Duration{},
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	s.now = l
	s.w.say("%s starts", l.name)
	store, err := tokenstore.New(l.config(), &wire{
		life:  l,
		looks: s.w.shelf.Client(tokenstoretest.ClientConfig{Faults: l.look}),
	}, tokenstore.NewMetrics(nowhere{},
		"simulated", false), zap.New(alarms{l}))
	if err != nil {
		panic(err)
	}
	l.store = store
	s.w.chore(func() {
		_ = store.Start(context.Background()) // WaitForStore: it never fails
		_ = store.Renewer().Start(context.Background())
		s.w.mu.Lock()
		l.ready = true
		s.w.mu.Unlock()
		close(l.up)
	})
}

func (l *life) config() tokenstore.Config {
	c := tokenstore.Config{
		Routes: map[string]tokenstore.RouteConfig{}, Upstreams: map[string]tokenstore.UpstreamConfig{},
		Pools:   map[string]tokenstore.PoolConfig{},
		Drivers: map[string]tokenstore.Driver{}, Journal: &journal{l}, WaitForStore: true, Holder: l.name,
		Random: func() float64 { return l.w.random(salt(1, l.number)) },
		Renewal: tokenstore.RenewalConfig{
			Sweep: 5 * time.Minute, Workers: 4, TokenEndpointTimeout: endpointTimeout, ClaimLease: l.w.plan.lease,
			BackoffMin: time.Second, BackoffMax: backoffMost,
		},
	}
	route := tokenstore.RouteConfig{
		Attempts: 4, FailOverRateLimit: true, FailOverOverload: true,
		RecoveryTimeout: 30 * time.Second, RefreshWait: refreshWait,
	}
	all := route
	for i, policy := range l.w.plan.policies {
		name := accountID(i)
		c.Drivers["p-"+name] = &driver{life: l, account: i, policy: policy}
		c.Pools[name] = tokenstore.PoolConfig{Provider: "p-" + name, Select: tokenstore.LeastLoaded}
		c.Upstreams[name] = tokenstore.UpstreamConfig{Pool: name, Cluster: name}
		one := route
		one.Upstreams = []string{name}
		c.Routes[name] = one
		all.Upstreams = append(all.Upstreams, name)
	}
	c.Routes["all"] = all
	return c
}

// crash ends a life at once, and has the next one begin after a while; 0: never. The lock is held.
func (l *life) crash(away time.Duration) {
	if l.dead {
		return
	}
	l.dead, l.crashed, l.at = true, true, l.w.now()
	l.service.now = nil
	close(l.died)
	l.end()
	l.w.say("%s dies", l.name)
	l.w.note(l.number, 0, 0xdead)
	l.w.chore(l.bury)
	l.rise(away)
}

func (s *service) rise(away time.Duration) {
	if away == 0 {
		s.gone = true
		return
	}
	s.w.chore(func() {
		if s.w.sleep(away) {
			s.w.mu.Lock()
			defer s.w.mu.Unlock()
			if s.now == nil && !s.w.over {
				s.launch()
			}
		}
	})
}

// bury ends what a dead process left running.
func (l *life) bury() {
	<-l.up
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = l.store.Stop(ended)
	_ = l.store.Renewer().Stop(context.Background())
}

// stop ends a life in order, as SIGTERM does.
func (l *life) stop() {
	<-l.up
	l.end()
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	begun := l.w.now()
	_ = l.store.Renewer().Stop(ctx)
	err := l.store.Stop(ctx)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.dead {
		return
	}
	l.w.ledger.waits = append(l.w.ledger.waits, wait{
		by: l.name, what: "stop", at: begun, took: l.w.now() - begun,
		limit: stopPatience + time.Second,
	})
	l.w.say("%s has stopped: %v", l.name, err)
	l.dead, l.at, l.stopped = true, l.w.now(), l.w.now()-begun
	if l.service.now == l {
		l.service.now = nil
	}
	close(l.died)
}

const stopPatience = 70 * time.Second

// nowhere takes metrics and keeps none.
type nowhere struct{}

func (nowhere) Register(prometheus.Collector) error  { return nil }
func (nowhere) MustRegister(...prometheus.Collector) {}
func (nowhere) Unregister(prometheus.Collector) bool { return true }

// alarms hears of the service's log only what must not be in it.
type alarms struct{ *life }

func (alarms) Enabled(level zapcore.Level) bool    { return level >= zapcore.ErrorLevel }
func (a alarms) With([]zapcore.Field) zapcore.Core { return a }
func (alarms) Sync() error                         { return nil }
func (a alarms) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !a.Enabled(e.Level) {
		return c
	}
	return c.AddCore(e, a)
}

func (a alarms) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if !strings.Contains(e.Message, "panic") {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	go func() { // whoever logs may hold the lock
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		if !a.dead {
			a.w.ledger.panics = append(a.w.ledger.panics, fmt.Sprintf("%s: %s: %v", a.name, e.Message, enc.Fields))
		}
	}()
	return nil
}

// do is one operation: it takes a while, is counted, meets its fault, takes effect, and its answer takes a while again.
// The effect is had under the lock. An error that the fault made comes instead of the effect's.
func (l *life) do(ctx context.Context, k kind, account int, effect func() error) error {
	w := l.w
	time.Sleep(l.latency(k, account, 0))
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.dead {
		return errDead
	}
	f, n := w.next(l.number, account, k)
	code := uint64(k)<<32 | uint64(n)
	w.note(l.number, account, code)
	if f != nil {
		w.note(l.number, account, uint64(f.act))
		if k == opAppend {
			w.as.journalFails(l, account)
		}
		w.say("%s: %s at %s of %s (operation %d)", l.name, *f, k, accountID(account), n)
		if ended, err := l.before(ctx, f, k, account); ended {
			return err
		}
	}
	var err error
	switch {
	case k&(opStore|opList|opLook) != 0 && w.away(l):
		err = errAway
	default:
		err = effect()
	}
	if f != nil {
		if ferr := l.after(ctx, f, k, account); ferr != nil {
			err = ferr
		}
	}
	if l.dead {
		return errDead
	}
	w.mu.Unlock()
	time.Sleep(l.latency(k, account, 1))
	w.mu.Lock()
	if l.dead {
		return errDead
	}
	return err
}

// latency depends on the instant: no two operations happen at the same.
func (l *life) latency(k kind, account, way int) time.Duration {
	x := l.w.random(salt(2, l.number, int(k), account, way))
	switch {
	case k == opGrant:
		return 2*time.Millisecond + time.Duration(x*float64(30*time.Millisecond))
	case k&(opAppend|opRemove) != 0:
		return 50*time.Microsecond + time.Duration(x*float64(time.Millisecond))
	}
	return 200*time.Microsecond + time.Duration(x*float64(3*time.Millisecond))
}

func (w *world) away(l *life) bool {
	now := time.Now()
	return now.Before(w.sealed) || now.Before(l.cutOff)
}

// travel waits without the lock, for as long as somebody waits for the operation. It reports whether it may go on.
func (l *life) travel(ctx context.Context, d time.Duration) error {
	l.w.mu.Unlock()
	defer l.w.mu.Lock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.died:
		return errDead
	}
}

// before is what a fault does to an operation that has not taken effect.
func (l *life) before(ctx context.Context, f *fault, k kind, account int) (ended bool, err error) {
	w := l.w
	switch f.act {
	case crashBefore:
		l.crash(f.length)
		return true, errDead
	case diskLost:
		l.crash(f.length)
		l.disk.lose(w)
		return true, errDead
	case fail:
		return true, errAway
	case hang:
		return true, l.travel(ctx, time.Minute)
	case deny:
		return true, fmt.Errorf("simulated: status 403: %w", tokenstore.ErrWithheld)
	case slowBefore:
		if err := l.travel(ctx, f.length); err != nil {
			return true, err
		}
		return l.dead, nil
	case sealed:
		w.sealed = time.Now().Add(f.length)
	case cutOff:
		l.cutOff = time.Now().Add(f.length)
	case grantFails:
		return true, w.as.refuse(f.what)
	case grantOdd:
		w.as.odd = f.what
	case tokenDies:
		w.as.killToken(account)
	case refuseOnce:
		w.as.mood = f.what
	case familyRevoked:
		w.as.revoke(account, "the provider")
	case edit:
		if !f.after {
			w.edit(f, account)
		}
	case crashAfter, crashNow, stopNow, loseAnswer, slowAfter:
	}
	_ = k
	return false, nil
}

// after is what it does to one that has.
func (l *life) after(ctx context.Context, f *fault, k kind, account int) error {
	w := l.w
	switch f.act {
	case crashAfter:
		l.crash(f.length)
		return errDead
	case crashNow:
		d := time.Duration(w.random(salt(3, l.number, account)) * float64(50*time.Millisecond))
		w.chore(func() {
			time.Sleep(d)
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.over {
				l.crash(f.length)
			}
		})
	case stopNow:
		if l.service.now == l {
			w.say("%s is told to stop", l.name)
			l.service.now = nil
			d := time.Duration(w.random(salt(8, l.number)) * float64(20*time.Millisecond)) // not in this very instant
			w.chore(func() {
				time.Sleep(d)
				l.stop()
				w.mu.Lock()
				defer w.mu.Unlock()
				if l.at == 0 || l.service.now != nil || w.over {
					return
				}
				l.rise(max(f.length, time.Millisecond))
			})
		}
	case loseAnswer:
		if f.what != "" { // and an edit comes on top, before anybody looks
			w.edit(f, account)
		}
		if k == opGrant {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown, Message: "simulated: the answer was lost"}
		}
		return errAway
	case slowAfter:
		return l.travel(ctx, f.length)
	case edit:
		if f.after {
			w.edit(f, account)
		}
	case crashBefore, diskLost, fail, hang, deny, slowBefore, sealed, cutOff, grantFails, grantOdd, tokenDies,
		refuseOnce, familyRevoked:
	}
	return nil
}
