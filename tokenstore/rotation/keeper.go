package rotation

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
)

// Keeper keeps the credentials of all accounts alive: it follows the backend, runs the refresh protocol and saves what
// it brings. It knows no route, pool or request. The zero value is not ready: see New.
type Keeper struct {
	cfg      Settings
	backend  Backend
	journal  Journal
	log      *zap.Logger
	count    Counters
	host     Host
	renewals *Renewer
	owners   *owners
	lives    lifespans
	contact  contact

	loaded      atomic.Bool
	loading     atomic.Pointer[string] // how far the loading of accounts is, in words
	found       atomic.Bool            // the backend was away and is back
	unsaved     atomic.Int64           // rotations that are in memory and wait for the backend
	journalDown atomic.Bool            // the latest entry could not be written

	mu       sync.Mutex // guards what follows
	accounts map[record.ID]*Account
	gone     map[record.ID]*Account // removed lately
	unread   map[record.ID]bool     // the latest read failed: to be read again

	life     context.Context // ends when the last commit is done
	end      context.CancelFunc
	stopping context.Context // ends when Stop is called: nothing new starts
	stop     context.CancelFunc
	stopMu   sync.Mutex // orders begin and Stop
	flights  sync.WaitGroup
	loops    sync.WaitGroup
}

// New builds a keeper. It does no I/O.
func New(cfg Settings, backend Backend, host Host, count Counters, log *zap.Logger) *Keeper {
	k := &Keeper{
		cfg: cfg, backend: backend, journal: cfg.Journal, log: log, count: count, host: host, owners: newOwners(),
		accounts: map[record.ID]*Account{}, gone: map[record.ID]*Account{}, unread: map[record.ID]bool{},
	}
	if k.cfg.Holder == "" {
		k.cfg.Holder = record.NewID()
	}
	if k.cfg.Random == nil {
		k.cfg.Random = rand.Float64
	}
	if k.journal == nil {
		k.journal = noJournal{}
	}
	k.life, k.end = context.WithCancel(context.Background())
	k.stopping, k.stop = context.WithCancel(k.life)
	k.renewals = newRenewer(k, cfg.Renewal)
	return k
}

// Load finishes what the journal holds and reads all accounts.
func (k *Keeper) Load(ctx context.Context) error {
	k.replay()
	switch err := k.sync(ctx); {
	case err == nil:
		k.loaded.Store(true)
	case k.cfg.WaitForStore:
		k.log.Error("accounts could not be loaded; trying again until they can", zap.Error(err))
	default:
		return fmt.Errorf("loading accounts: %w", err)
	}
	return nil
}

// Go runs f on a goroutine that Stop waits for; f ends when Stopping is closed.
func (k *Keeper) Go(f func()) { k.loops.Go(f) }

// Run follows changes by others until Stop.
func (k *Keeper) Run() {
	k.loops.Go(k.follow)
	k.loops.Go(k.rereadLoop)
	k.loops.Go(func() { // what changed between the listing and the first look of the watch
		pause(k.stopping, time.Second)
		_ = k.sync(k.stopping) // a lost store is noted by follow
	})
}

// Stop refuses new refreshes and waits until the running ones are finished and saved, or the context is about to end: a
// rotated refresh token that was received but not saved is a lost account.
func (k *Keeper) Stop(ctx context.Context) error {
	k.stopMu.Lock()
	k.stop()
	k.stopMu.Unlock()
	if at, ok := ctx.Deadline(); ok { // what stops after us, and the error, need a moment too
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, at.Add(-min(2*time.Second, time.Until(at)/10)))
		defer cancel()
	}
	done := make(chan struct{})
	go func() {
		k.flights.Wait()
		k.loops.Wait()
		close(done)
	}()
	defer k.end()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		if n := k.unsaved.Load(); n > 0 && k.cfg.Journal != nil && !k.journalDown.Load() {
			return fmt.Errorf(
				"stopping: the store did not take %d rotated credentials in time: they are in the journal, and the next "+
					"start saves them",
				n,
			)
		}
		return errors.New(
			"stopping: refreshes were still running or being saved when the time was up, and the journal does not have " +
				"them all: their accounts may need a new login",
		)
	}
}

// Account is the account of a record; nil: there is none.
func (k *Keeper) Account(id record.ID) *Account {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.accounts[id]
}

func (k *Keeper) ensure(id record.ID) *Account {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.accounts[id]
	if a == nil {
		a = k.newAccount(id)
		if was := k.gone[id]; was != nil {
			a.life.inherits(was.look())
			a.Seat.Inherit(was.Seat)
			delete(k.gone, id)
		}
		k.accounts[id] = a
	}
	return a
}

// remove takes an account out. It is remembered for a week: its record may come back.
func (k *Keeper) remove(id record.ID) {
	k.mu.Lock()
	a := k.accounts[id]
	if a == nil {
		k.mu.Unlock()
		return
	}
	delete(k.accounts, id)
	maps.DeleteFunc(k.gone, func(_ record.ID, a *Account) bool { return time.Since(a.goneAt) > orphanLife })
	a.goneAt = time.Now() // behind k.mu
	k.gone[id] = a
	k.mu.Unlock()
	k.host.Event("account_removed", a)
	k.change(a, func(l *lifecycle, _ time.Time) { l.gone() })
	k.disown(a)
}

// All are the accounts, ordered by id.
func (k *Keeper) All() []*Account {
	k.mu.Lock()
	defer k.mu.Unlock()
	as := make([]*Account, 0, len(k.accounts))
	for _, a := range k.accounts {
		as = append(as, a)
	}
	slices.SortFunc(as, func(a, b *Account) int { return cmp.Compare(a.id, b.id) })
	return as
}
