package tokenstore

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// choices is how many fitting accounts least_loaded compares. Comparing a few drawn at random is nearly as good as
// comparing all, and its cost does not grow with the pool.
const choices = 4

// Holder is told, at most once per call, before a call waits: the caller's peer must be asked for patience.
type Holder interface {
	Hold(limit time.Duration) error
}

// PickRequest asks who serves an attempt.
type PickRequest struct {
	Route     string
	Tenant    string
	Client    string // who asks and for what: refusals of different requests weigh more than those of one
	Path      string
	RequestID string // for events
	Trail     *Trail // nil on the first attempt
	Holder    Holder // nil: nobody needs to know
}

// Pick is who serves an attempt. Release it exactly once.
type Pick struct {
	Upstream   string // name of the upstream
	Cluster    string // name of its Envoy cluster
	Account    record.ID
	Provider   string
	Generation record.Generation
	Headers    []verdict.Header // shared and immutable

	route    *route
	upstream *upstream
	account  *account
	tenant   string
	client   string
	path     string
	request  string // its id
	attempt  int    // from 1
	at       int64  // Unix nanoseconds
}

// Release ends the attempt's share of the account's load and its place in the limit of concurrency. Safe on the zero Pick.
func (p Pick) Release() {
	if p.account != nil {
		p.account.inflight.Add(-1)
	}
}

// Pick chooses account and upstream for one attempt. It reads atomics only, unless no living token is left at the best
// upstream that could serve: then it waits for a refresh, bounded by the route's refresh_wait. Errors are of type
// *Refusal, or the context's.
func (s *Store) Pick(ctx context.Context, q PickRequest) (Pick, error) {
	r := s.routes[q.Route]
	p, err := s.find(ctx, r, q)
	if err != nil {
		var ref *verdict.Refusal
		if errors.As(err, &ref) {
			s.refused(r, ref, q.who()...)
		}
	}
	return p, err
}

func (s *Store) find(ctx context.Context, r *route, q PickRequest) (Pick, error) {
	if r == nil {
		return Pick{}, s.refuse(nil, verdict.ReasonUnknownRoute, "route "+q.Route+" is not in the configuration: add it under routes", 0)
	}
	if !s.loaded.Load() {
		return Pick{}, s.refuse(r, verdict.ReasonStoreUnavailable, "accounts are not loaded yet: the store is not available", time.Second)
	}
	var deadline time.Time
	for {
		now := time.Now()
		u, a, living := r.choose(now.UnixNano(), q.Tenant, q.Trail, nil)
		if a == nil {
			return Pick{}, s.nobody(r, q.Tenant, q.Trail, now)
		}
		if living {
			if p, ok := s.pick(r, u, a, q, now.UnixNano()); ok {
				return p, nil
			}
			continue
		}
		if deadline.IsZero() {
			deadline = now.Add(r.RefreshWait)
			if q.Holder != nil {
				if err := q.Holder.Hold(r.RefreshWait); err != nil {
					return Pick{}, err
				}
			}
		}
		left := deadline.Sub(now)
		if left <= 0 {
			return Pick{}, s.refuse(r, verdict.ReasonNoHealthyAccount, "no account got a new token in time: see tokenward status", time.Second)
		}
		short := patience - now.Sub(deadline.Add(-r.RefreshWait))
		if err := s.await(ctx, a, left, short, q); err != nil {
			return Pick{}, err
		}
	}
}

// await joins the account's refresh. A failure is no error: it shows in the account, and the next choice avoids it. Where
// there is a token that may be fine, the wait is short.
func (s *Store) await(ctx context.Context, a *account, limit, short time.Duration, q PickRequest) error {
	s.tokenExpired(a, q.who()...)
	if t := a.token.Load(); t != nil && time.Now().UnixNano() < t.usableUntil {
		limit = min(limit, short)
	}
	f := s.join(a, a.generation(), record.TriggerRequest)
	if f.wait(ctx, limit) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.tire()
	return nil // out of time: the caller's deadline says so
}

func (s *Store) pick(r *route, u *upstream, a *account, q PickRequest, now int64) (Pick, bool) {
	t := a.token.Load()
	if t == nil || !a.admit(now) || !a.take(now) {
		return Pick{}, false // gone or taken since the choice
	}
	a.requests.Add(1)
	if !s.served.Load() {
		s.served.Store(true)
	}
	if q.Trail.Attempts() > 0 {
		s.noteFailover(q, u, a)
	}
	return Pick{
		Upstream: u.name, Cluster: u.Cluster, Account: a.id, Provider: u.pool.Provider, Generation: t.generation,
		Headers: t.headers, route: r, upstream: u, account: a, tenant: q.Tenant, client: q.Client, path: q.Path,
		request: q.RequestID, attempt: q.Trail.Attempts() + 1, at: now,
	}, true
}

// route is a configured route with its upstreams resolved.
type route struct {
	RouteConfig
	name      string
	upstreams []*upstream
}

// upstream is a configured upstream and what is known of its reachability.
type upstream struct {
	UpstreamConfig
	name      string
	pool      *pool
	downUntil atomic.Int64 // unreachable lately: others first; Unix nanoseconds
	downs     atomic.Int32 // times in a row
}

// pool is a configured pool; its accounts are grouped by tenant.
type pool struct {
	PoolConfig
	name    string
	driver  Driver
	random  func() float64
	tenants atomic.Pointer[map[string]*segment] // replaced as a whole
}

// segment is the accounts of one pool and tenant. Immutable but for the round-robin counter.
type segment struct {
	members []*account
	next    atomic.Uint64
}

// choose walks the upstreams in order of preference, those that were unreachable lately last, and at each one prefers an
// account with a living token to one that needs a refresh first, and that to a suspect token. A benched account comes after
// all upstreams, and one whose credential is dead, too, after waiting for a limit's end. own, if any, serves an attempt that ends before the chosen one begins.
func (r *route) choose(now int64, tenant string, trail *Trail, own *account) (*upstream, *account, bool) {
	for rank := range ranks {
		if rank == rankDead && r.cooling(now, tenant) {
			break
		}
		for _, down := range [2]bool{false, true} {
			for _, u := range r.upstreams {
				if (u.downUntil.Load() > now) != down || trail.unreachable(u.name) {
					continue
				}
				if a, living := u.pool.choose(now, tenant, trail, own, rank); a != nil {
					return u, a, living
				}
			}
		}
	}
	return nil, nil, false
}

// cooling reports whether an account could serve but for a limit.
func (r *route) cooling(now int64, tenant string) bool {
	for _, u := range r.upstreams {
		if seg := (*u.pool.tenants.Load())[tenant]; seg != nil {
			if slices.ContainsFunc(seg.members, func(a *account) bool { return a.coolUntil.Load() > now }) {
				return true
			}
		}
	}
	return false
}

// choose chooses among the pool's accounts. living: its token can be used at once.
func (p *pool) choose(now int64, tenant string, trail *Trail, own *account, rank int) (chosen *account, living bool) {
	seg := (*p.tenants.Load())[tenant]
	if seg == nil {
		return nil, false
	}
	n := uint64(len(seg.members))
	var start uint64
	compare := choices
	if p.Select == RoundRobin {
		start, compare = seg.next.Add(1)%n, 1
	} else {
		start = uint64(p.random() * float64(n))
	}
	prefer := trail.preferred()
	var asleep, spare *account
	var least int64
	for i := range n {
		at := start + i
		if at >= n {
			at -= n
		}
		a := seg.members[at]
		refreshable := a.refreshable(now) // read before living: a refresh that ends meanwhile sets what living reads first
		switch {
		case a.living(now):
			if !trail.admits(a.id, a.generation()) || !a.fits(now, a == own) {
				continue
			}
			if a.id == prefer {
				return a, true
			}
			load := a.inflight.Load()
			if chosen == nil || load < least {
				chosen, least = a, load
			}
			if compare--; prefer == "" && (compare <= 0 || load == 0) { // nothing beats an idle account
				return chosen, true
			}
		case asleep == nil && refreshable && a.askable(now) && trail.fresh(a.id) && a.fits(now, a == own):
			asleep = a
		case spare == nil:
			if d := a.suspicion.Load(); d != nil && a.spare(now, d, rank) && trail.admits(a.id, a.generation()) && a.fits(now, a == own) {
				spare = a
			}
		}
	}
	switch {
	case chosen != nil:
		return chosen, true
	case asleep != nil:
		return asleep, false
	}
	return spare, true
}

// reached ends what is held against an upstream that could not be reached.
func (u *upstream) reached() {
	if u.downs.Load() != 0 {
		u.downs.Store(0)
		u.downUntil.Store(0)
	}
}

func (u *upstream) unreachable(now time.Time) {
	if u.downUntil.Load() > now.UnixNano() {
		return // one event, seen by many
	}
	pause := min(time.Second<<min(u.downs.Add(1)-1, 10), downMost)
	u.downUntil.Store(now.Add(pause).UnixNano())
}
