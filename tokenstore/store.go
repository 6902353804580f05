package tokenstore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
)

// Store is the domain's one object: it knows all accounts, serves picks and reports, and refreshes tokens. Create it
// with New, call Start before anything else and Stop at the end. All methods are safe for concurrent use.
type Store struct {
	keeper  *rotation.Keeper
	cfg     Config
	log     *zap.Logger
	metrics *Metrics

	board  *selection.Board
	first  *selection.Route // by name: it shapes refusals where no route is known; nil: there is none
	served atomic.Bool      // an account has been able to serve since the start
	guilty selection.Guilty
	dirty  chan struct{} // pools must be rebuilt
	toldMu sync.Mutex    // guards seat.told
}

// New builds a Store over a backend. It does no I/O. The backend stays the caller's to close, after Stop.
func New(cfg Config, backend rotation.Backend, metrics *Metrics, log *zap.Logger) (*Store, error) {
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	s := &Store{cfg: cfg, log: log, metrics: metrics, dirty: make(chan struct{}, 1)}
	redeemers := make(map[string]rotation.Redeemer, len(cfg.Drivers))
	for name, d := range cfg.Drivers {
		redeemers[name] = d
	}
	s.keeper = rotation.New(rotation.Settings{
		Redeemers: redeemers, Check: func(r record.Record) error { return Check(r, cfg.Drivers, cfg.Pools) },
		Renewal: cfg.Renewal, Journal: cfg.Journal, WaitForStore: cfg.WaitForStore, Holder: cfg.Holder, Random: cfg.Random,
	}, backend, host{s}, metrics.counters(), log)
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
	metrics.watch(s)
	return s, nil
}

// Start finishes what the journal holds, loads all accounts and follows changes. Single unreadable records are reported
// in their status. If the backend cannot be listed Start fails, unless the configuration says to wait for it: then the
// store is not ready until it can.
func (s *Store) Start(ctx context.Context) error {
	if err := s.keeper.Load(ctx); err != nil {
		return err
	}
	s.rebuild()
	s.keeper.Go(s.rebuildLoop)
	s.keeper.Run()
	s.event("config_loaded", nil, zap.Int("accounts", len(s.keeper.All())), zap.Int("routes", len(s.cfg.Routes)))
	return nil
}

// Renewer returns the background renewal, to be started after the store and stopped before it.
func (s *Store) Renewer() *Renewer { return s.keeper.Renewer() }

// Stop refuses new refreshes and waits until the running ones are finished and saved, or the context is about to end: a
// rotated refresh token that was received but not saved is a lost account.
func (s *Store) Stop(ctx context.Context) error { return s.keeper.Stop(ctx) }

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
		case <-s.keeper.Stopping():
			return
		case <-s.dirty:
			s.rebuild()
			select { // a burst of changes becomes one
			case <-s.keeper.Stopping():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// rebuild puts every usable account into its pools.
func (s *Store) rebuild() {
	var members []selection.Member
	for _, a := range s.keeper.All() {
		if m := a.Member(); m.Usable {
			members = append(members,
				selection.Member{Seat: seatOf(a).Seat, Provider: m.Provider, Pools: m.Pools, Tenant: m.Tenant})
		}
	}
	s.board.Fill(members)
}
