package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Store is the domain's one object: it knows all accounts, serves picks and reports, and refreshes tokens. Create it with
// New, call Start before anything else and Stop at the end. All methods are safe for concurrent use.
type Store struct {
	cfg      Config
	backend  Backend
	log      *zap.Logger
	metrics  *Metrics
	routes   map[string]*route
	pools    map[string]*pool
	fallback Driver // shapes refusals where no route is known
	renewals *Renewer
	loaded   atomic.Bool
	down     atomic.Uint32 // what the backend does not do: downReads, downWrites
	unsaved  atomic.Int64  // rotations that are in memory and wait for the backend
	journal  Journal

	loading atomic.Pointer[string] // how far the loading of accounts is, in words

	mu       sync.Mutex // guards what follows
	accounts map[AccountID]*account
	unread   map[AccountID]bool // the latest read failed: to be read again

	life     context.Context // ends when the last commit is done
	end      context.CancelFunc
	stopping context.Context // ends when Stop is called: nothing new starts
	stop     context.CancelFunc
	stopMu   sync.Mutex // orders begin and Stop
	flights  sync.WaitGroup
	loops    sync.WaitGroup
	dirty    chan struct{} // pools must be rebuilt
}

// New builds a Store over a backend. It does no I/O. The backend stays the caller's to close, after Stop.
func New(cfg Config, backend Backend, metrics *Metrics, log *zap.Logger) (*Store, error) {
	s := &Store{
		cfg: cfg, backend: backend, log: log, metrics: metrics, routes: map[string]*route{}, pools: map[string]*pool{},
		accounts: map[AccountID]*account{}, unread: map[AccountID]bool{}, dirty: make(chan struct{}, 1),
	}
	if s.cfg.Holder == "" {
		s.cfg.Holder = newID()
	}
	if s.journal = cfg.Journal; s.journal == nil {
		s.journal = noJournal{}
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.stopping, s.stop = context.WithCancel(s.life)
	for name, p := range cfg.Pools {
		d := cfg.Drivers[p.Provider]
		if d == nil {
			return nil, fmt.Errorf("pool %s: provider %q is not configured", name, p.Provider)
		}
		s.pools[name] = &pool{PoolConfig: p, name: name, driver: d}
		s.pools[name].tenants.Store(&map[string]*segment{})
	}
	upstreams := map[string]*upstream{}
	for name, u := range cfg.Upstreams {
		p := s.pools[u.Pool]
		if p == nil {
			return nil, fmt.Errorf("upstream %s: pool %q is not configured", name, u.Pool)
		}
		upstreams[name] = &upstream{UpstreamConfig: u, name: name, pool: p}
	}
	for name, rc := range cfg.Routes {
		r := &route{RouteConfig: rc, name: name}
		for _, u := range rc.Upstreams {
			if upstreams[u] == nil {
				return nil, fmt.Errorf("route %s: upstream %q is not configured", name, u)
			}
			r.upstreams = append(r.upstreams, upstreams[u])
			s.fallback = r.upstreams[0].pool.driver
		}
		s.routes[name] = r
	}
	s.renewals = newRenewer(s, cfg.Renewal)
	metrics.watch(s)
	return s, nil
}

// Renewer returns the background renewal, to be started after the store and stopped before it.
func (s *Store) Renewer() *Renewer { return s.renewals }

// Start finishes what the journal holds, loads all accounts and follows changes. Single unreadable records are reported in
// their status. If the backend cannot be listed Start fails, unless the configuration says to wait for it: then the store
// is not ready until it can.
func (s *Store) Start(ctx context.Context) error {
	s.replay()
	switch err := s.sync(ctx); {
	case err == nil:
		s.rebuild()
		s.loaded.Store(true)
	case s.cfg.WaitForStore:
		s.log.Error("accounts could not be loaded; trying again until they can", zap.Error(err))
	default:
		return fmt.Errorf("loading accounts: %w", err)
	}
	s.loops.Go(s.follow)
	s.loops.Go(s.rebuildLoop)
	s.loops.Go(s.rereadLoop)
	s.loops.Go(func() { // what changed between the listing and the first look of the watch
		pause(s.stopping, time.Second)
		_ = s.sync(s.stopping) // a lost store is noted by follow
	})
	s.event("config_loaded", nil, zap.Int("accounts", len(s.all())), zap.Int("routes", len(s.routes)))
	return nil
}

// rereadPause is how long a record that could not be read is left alone.
const rereadPause = 10 * time.Second

var errNotLoaded = errors.New("accounts are not loaded yet")

// Stop refuses new refreshes and waits until the running ones are finished and saved, or the context ends: a rotated
// refresh token that was received but not saved is a lost account.
func (s *Store) Stop(ctx context.Context) error {
	s.stopMu.Lock()
	s.stop()
	s.stopMu.Unlock()
	done := make(chan struct{})
	go func() {
		s.flights.Wait()
		s.loops.Wait()
		close(done)
	}()
	defer s.end()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		if n := s.unsaved.Load(); n > 0 && s.cfg.Journal != nil {
			return fmt.Errorf("stopping: the store did not take %d rotated credentials in time: they are in the journal, and the next start saves them", n)
		}
		return errors.New("stopping: refreshes were still running or being saved when the time was up; their accounts may need a new login")
	}
}

// sync compares the backend's list with memory and loads what is new or changed. It fails if the backend does: then what it
// did not come to is as it was.
func (s *Store) sync(ctx context.Context) error {
	started := time.Now()
	heads, err := s.backend.List(ctx)
	s.answered("list", started, err)
	if err != nil {
		return err
	}
	listed := make(map[AccountID]bool, len(heads))
	told := time.Now()
	g, going := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, h := range heads {
		if going.Err() != nil {
			break
		}
		if time.Since(told) > 3*time.Second {
			told = time.Now()
			s.tellLoading(i, len(heads))
		}
		listed[h.ID] = true
		if a := s.account(h.ID); a != nil && a.at() == h.Version {
			continue
		}
		g.Go(func() error { return s.reload(h.ID) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, a := range s.all() {
		if !listed[a.id] {
			_ = s.reload(a.id) // deleted, or created after the listing
		}
	}
	return ctx.Err()
}

func (s *Store) tellLoading(done, of int) {
	words := fmt.Sprintf("%d of %d", done, of)
	s.loading.Store(&words)
	s.log.Info("loading accounts", zap.Int("loaded", done), zap.Int("of", of))
}

// reload reads one record again and adopts what it says. It fails if the backend does; then, and while the record is withheld,
// it is tried again later. An account that memory knows goes on meanwhile with what memory has.
func (s *Store) reload(id AccountID) error {
	cur, err := s.load(id)
	withheld := errors.Is(err, ErrWithheld)
	again := s.mark(id, withheld || !storeAnswered(err))
	switch {
	case errors.Is(err, ErrNotFound):
		s.remove(id)
	case errors.Is(err, ErrDeleted):
		s.unusable(s.ensure(id), err, cur)
	case errors.Is(err, ErrUnreadable):
		s.unusable(s.ensure(id), err, cur)
		s.log.Warn("account cannot be used", zap.String("account", string(id)), zap.Error(err))
	case withheld:
		if a := s.ensure(id); a.at() == 0 {
			s.unusable(a, err, cur)
		}
		if !again {
			s.log.Warn("account cannot be read; what is known of it is kept", zap.String("account", string(id)), zap.Error(err))
		}
	case err != nil:
		return err
	default:
		s.take(s.ensure(id), cur)
	}
	return nil
}

// mark notes whether an account is to be read again, and returns what was noted before.
func (s *Store) mark(id AccountID, unread bool) (was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.unread[id]
	delete(s.unread, id)
	if unread {
		s.unread[id] = true
	}
	return was
}

// rereadLoop reads again what could not be read, until the backend fails once more.
func (s *Store) rereadLoop() {
	for s.stopping.Err() == nil {
		pause(s.stopping, rereadPause)
		s.mu.Lock()
		ids := slices.Collect(maps.Keys(s.unread))
		s.mu.Unlock()
		for _, id := range ids {
			if s.stopping.Err() != nil || s.reload(id) != nil {
				break
			}
		}
	}
}

// follow adopts changes by others for as long as the store lives.
func (s *Store) follow() {
	for try := 1; s.stopping.Err() == nil; try++ {
		err := errNotLoaded
		if s.loaded.Load() {
			err = s.backend.Watch(s.stopping, func(id AccountID) { _ = s.reload(id) }) // one that fails is read again
		}
		if s.stopping.Err() != nil {
			return
		}
		if s.storeUp() {
			s.log.Warn("following the store was interrupted; trying again", zap.Error(err))
		}
		pause(s.stopping, backoff(try, time.Second, 30*time.Second, 0, 0.5))
		if s.sync(s.stopping) == nil {
			try = 0
			s.loaded.Store(true)
			s.rebuildSoon()
		}
	}
}

func (s *Store) account(id AccountID) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accounts[id]
}

func (s *Store) ensure(id AccountID) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[id]
	if a == nil {
		a = &account{id: id}
		a.wakeFrom.Store(never)
		s.accounts[id] = a
	}
	return a
}

func (s *Store) remove(id AccountID) {
	s.mu.Lock()
	a := s.accounts[id]
	delete(s.accounts, id)
	s.mu.Unlock()
	if a == nil {
		return
	}
	a.mu.Lock()
	a.removed = true
	a.setTokenLocked(nil)
	a.wakeFrom.Store(never)
	a.due = time.Time{}
	a.mu.Unlock()
	s.renewals.wake(a)
	s.rebuildSoon()
}

func (s *Store) all() []*account {
	s.mu.Lock()
	defer s.mu.Unlock()
	as := make([]*account, 0, len(s.accounts))
	for _, a := range s.accounts {
		as = append(as, a)
	}
	slices.SortFunc(as, func(a, b *account) int { return cmp.Compare(a.id, b.id) })
	return as
}

func (a *account) at() Version {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.version
}

// rebuildSoon asks for the pools to be rebuilt; many requests become one.
func (s *Store) rebuildSoon() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

func (s *Store) rebuildLoop() {
	for {
		select {
		case <-s.stopping.Done():
			return
		case <-s.dirty:
			s.rebuild()
			pause(s.stopping, 10*time.Millisecond) // gather a burst of changes
		}
	}
}

// rebuild puts every usable account into its pools.
func (s *Store) rebuild() {
	tenants := make(map[string]map[string]*segment, len(s.pools))
	for name := range s.pools {
		tenants[name] = map[string]*segment{}
	}
	for _, a := range s.all() {
		a.mu.Lock()
		r, usable := a.record, a.problem == nil && a.record.State != Paused && !a.removed
		a.mu.Unlock()
		if !usable {
			continue
		}
		for _, name := range r.Serves() {
			p := s.pools[name]
			if p == nil || p.Provider != r.Provider {
				continue
			}
			seg := tenants[name][r.Tenant]
			if seg == nil {
				seg = &segment{}
				tenants[name][r.Tenant] = seg
			}
			seg.members = append(seg.members, a)
		}
	}
	for name, p := range s.pools {
		t := tenants[name]
		p.tenants.Store(&t)
	}
}
