package tokenstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/selection"
)

// Store is the domain's one object: it knows all accounts, serves picks and reports, and refreshes tokens. Create it with
// New, call Start before anything else and Stop at the end. All methods are safe for concurrent use.
type Store struct {
	cfg      Config
	backend  Backend
	log      *zap.Logger
	metrics  *Metrics
	board    *selection.Board
	first    *selection.Route // by name: it shapes refusals where no route is known; nil: there is none
	renewals *Renewer
	loaded   atomic.Bool
	served   atomic.Bool // an account has been able to serve since the start
	contact  contact
	found    atomic.Bool  // the backend was away and is back
	unsaved  atomic.Int64 // rotations that are in memory and wait for the backend
	journal  Journal
	lives    lifespans
	guilty   selection.Guilty

	journalDown atomic.Bool // the latest entry could not be written

	loading atomic.Pointer[string] // how far the loading of accounts is, in words

	owners *owners

	mu       sync.Mutex // guards what follows
	accounts map[record.ID]*account
	gone     map[record.ID]*account // removed lately
	unread   map[record.ID]bool     // the latest read failed: to be read again

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
		cfg: cfg, backend: backend, log: log, metrics: metrics,
		accounts: map[record.ID]*account{}, gone: map[record.ID]*account{}, unread: map[record.ID]bool{}, owners: newOwners(), dirty: make(chan struct{}, 1),
	}
	if s.cfg.Holder == "" {
		s.cfg.Holder = record.NewID()
	}
	if s.cfg.Random == nil {
		s.cfg.Random = rand.Float64
	}
	if s.journal = cfg.Journal; s.journal == nil {
		s.journal = noJournal{}
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.stopping, s.stop = context.WithCancel(s.life)
	for name, p := range cfg.Pools {
		if cfg.Drivers[p.Provider] == nil {
			return nil, fmt.Errorf("pool %s: provider %q is not configured", name, p.Provider)
		}
	}
	var err error
	if s.board, err = selection.NewBoard(cfg.Routes, cfg.Upstreams, cfg.Pools, s.cfg.Random); err != nil {
		return nil, err
	}
	if len(cfg.Routes) > 0 {
		s.first = s.board.Route(slices.Min(slices.Collect(maps.Keys(cfg.Routes))))
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
	s.event("config_loaded", nil, zap.Int("accounts", len(s.all())), zap.Int("routes", len(s.cfg.Routes)))
	return nil
}

// Stop refuses new refreshes and waits until the running ones are finished and saved, or the context is about to end: a
// rotated refresh token that was received but not saved is a lost account.
func (s *Store) Stop(ctx context.Context) error {
	s.stopMu.Lock()
	s.stop()
	s.stopMu.Unlock()
	if at, ok := ctx.Deadline(); ok { // what stops after us, and the error, need a moment too
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, at.Add(-min(2*time.Second, time.Until(at)/10)))
		defer cancel()
	}
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
		if n := s.unsaved.Load(); n > 0 && s.cfg.Journal != nil && !s.journalDown.Load() {
			return fmt.Errorf("stopping: the store did not take %d rotated credentials in time: they are in the journal, and the next start saves them", n)
		}
		return errors.New("stopping: refreshes were still running or being saved when the time was up, and the journal does not have them all: their accounts may need a new login")
	}
}

func (s *Store) account(id record.ID) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accounts[id]
}

func (s *Store) ensure(id record.ID) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[id]
	if a == nil {
		a = s.newAccount(id)
		if was := s.gone[id]; was != nil {
			a.life.inherits(was.look())
			a.InheritLimits(was.Seat)
			delete(s.gone, id)
		}
		s.accounts[id] = a
	}
	return a
}

// remove takes an account out. It is remembered for a week: its record may come back.
func (s *Store) remove(id record.ID) {
	s.mu.Lock()
	a := s.accounts[id]
	if a == nil {
		s.mu.Unlock()
		return
	}
	delete(s.accounts, id)
	maps.DeleteFunc(s.gone, func(_ record.ID, a *account) bool { return time.Since(a.goneAt) > orphanLife })
	a.goneAt = time.Now() // behind the store's mu
	s.gone[id] = a
	s.mu.Unlock()
	s.event("account_removed", a)
	s.change(a, func(l *lifecycle, _ time.Time) { l.gone() })
	s.disown(a)
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
	var members []selection.Member
	for _, a := range s.all() {
		if m := a.member(); m.usable {
			members = append(members, selection.Member{Seat: a.Seat, Provider: m.provider, Pools: m.pools, Tenant: m.tenant})
		}
	}
	s.board.Fill(members)
}
