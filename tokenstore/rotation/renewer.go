package rotation

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Renewer refreshes tokens ahead of their end: one heap of instants, one timer, a bounded number of workers, and a
// sweep over all accounts that catches what timers miss (a suspended machine, a jumping clock, a lost change notice).
type Renewer struct {
	keeper  *Keeper
	cfg     RenewalConfig
	workers chan struct{}
	nudge   chan struct{} // size 1: the earliest instant may have changed

	mu    sync.Mutex // guards plan and index
	plan  planHeap
	index map[*Account]*planned

	cancel context.CancelFunc
	done   sync.WaitGroup
}

type planned struct {
	account *Account
	at      time.Time
	pos     int
}

func newRenewer(k *Keeper, cfg RenewalConfig) *Renewer {
	return &Renewer{
		keeper:  k,
		cfg:     cfg,
		workers: make(chan struct{}, max(cfg.Workers, 1)),
		nudge:   make(chan struct{}, 1),
		index:   map[*Account]*planned{},
	}
}

// Start begins to renew. The context bounds nothing but the call.
func (r *Renewer) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() { r.loop(ctx) })
	return nil
}

// Stop ends the schedule. Refreshes under way belong to the store, which waits for them.
func (r *Renewer) Stop(ctx context.Context) error {
	r.cancel()
	ended := make(chan struct{})
	go func() {
		r.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wake takes over the account's planned instant. Keeper.change calls it; works before Start.
func (r *Renewer) wake(a *Account) {
	r.mu.Lock()
	due := a.due.Load() // under the lock: the latest wake plans what is due now
	e := r.index[a]
	switch {
	case due == 0 && e != nil:
		heap.Remove(&r.plan, e.pos)
		delete(r.index, a)
	case due == 0:
	case e == nil:
		e = &planned{account: a, at: time.Unix(0, due)}
		r.index[a] = e
		heap.Push(&r.plan, e)
	default:
		e.at = time.Unix(0, due)
		heap.Fix(&r.plan, e.pos)
	}
	r.mu.Unlock()
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

func (r *Renewer) loop(ctx context.Context) {
	sweep := time.NewTicker(r.cfg.Sweep)
	defer sweep.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			r.sweep(ctx)
		case <-r.nudge:
		case <-timer.C:
		}
		timer.Reset(r.fire(ctx))
	}
}

// fire starts what is due, as far as workers are free, and returns how long to sleep. A worker that becomes free
// nudges.
func (r *Renewer) fire(ctx context.Context) time.Duration {
	for {
		r.mu.Lock()
		if len(r.plan) == 0 || r.keeper.stopping.Err() != nil { // a store that stops refreshes nothing
			r.mu.Unlock()
			return r.cfg.Sweep
		}
		next := r.plan[0]
		if wait := time.Until(next.at); wait > 0 {
			r.mu.Unlock()
			return wait
		}
		select {
		case r.workers <- struct{}{}:
		default:
			r.mu.Unlock()
			return r.cfg.Sweep
		}
		heap.Pop(&r.plan)
		delete(r.index, next.account)
		r.mu.Unlock()
		r.done.Go(func() { r.renew(ctx, next.account) })
	}
}

func (r *Renewer) renew(ctx context.Context, a *Account) {
	defer func() {
		<-r.workers
		select {
		case r.nudge <- struct{}{}:
		default:
		}
	}()
	f := r.keeper.Join(a, a.look().generation(), record.TriggerSchedule)
	select {
	case <-f.done:
	case <-ctx.Done():
	}
}

// sweep compares memory with the backend and plans every account anew.
func (r *Renewer) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := r.keeper.sync(ctx); err != nil {
		r.keeper.log.Warn("sweep: the store could not be listed; trying again at the next sweep", zap.Error(err))
	}
	for _, a := range r.keeper.All() {
		r.keeper.Replan(a)
	}
}

// planHeap orders by instant; container/heap's interface.
type planHeap []*planned

func (h planHeap) Len() int           { return len(h) }
func (h planHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h planHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push implements heap.Interface.
func (h *planHeap) Push(x any) {
	e := x.(*planned) //nolint:forcetypeassert // only planned entries are pushed
	e.pos = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *planHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
