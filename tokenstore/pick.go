package tokenstore

import (
	"context"
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

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

	route    *selection.Route
	upstream *selection.Upstream
	seat     *selection.Seat
	tenant   string
	client   string
	path     string
	request  string // its id
	attempt  int    // from 1
	at       int64  // Unix nanoseconds
}

// Release ends the attempt's share of the account's load and its place in the limit of concurrency. Safe on the zero
// Pick.
func (p Pick) Release() {
	if p.seat != nil {
		p.seat.Release()
	}
}

// patience is the longest wait for a refresh while there is a token that may be fine.
const patience = 2 * time.Second

// Pick chooses account and upstream for one attempt. It reads atomics only, unless no living token is left at the best
// upstream that could serve: then it waits for a refresh, bounded by the route's refresh_wait. Errors are of type
// *Refusal, or the context's.
func (s *Store) Pick(ctx context.Context, q PickRequest) (Pick, error) {
	r := s.board.Route(q.Route)
	p, err := s.find(ctx, r, q)
	if err != nil {
		if ref, ok := errors.AsType[*verdict.Refusal](err); ok {
			s.refused(r, ref, q.who()...)
		}
	}
	return p, err
}

func (s *Store) find(ctx context.Context, r *selection.Route, q PickRequest) (Pick, error) {
	if r == nil {
		return Pick{}, s.refuse(nil, verdict.ReasonUnknownRoute,
			"route "+q.Route+" is not in the configuration: add it under routes", 0)
	}
	if loaded, _ := s.keeper.Loaded(); !loaded {
		return Pick{}, s.refuse(r, verdict.ReasonStoreUnavailable, "accounts are not loaded yet: the store is not available",
			time.Second)
	}
	var deadline time.Time
	for {
		now := time.Now()
		u, seat, living := r.Choose(now.UnixNano(), q.Tenant, q.Trail, nil)
		if seat == nil {
			return Pick{}, s.nobody(r, q.Tenant, q.Trail, now)
		}
		if living {
			if p, ok := s.pick(r, u, seat, q, now.UnixNano()); ok {
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
			return Pick{}, s.refuse(r, verdict.ReasonNoHealthyAccount,
				"no account got a new token in time: see tokenward status", time.Second)
		}
		short := patience - now.Sub(deadline.Add(-r.RefreshWait))
		a := s.keeper.Account(seat.ID)
		if a == nil {
			continue // removed since the choice
		}
		if err := s.await(ctx, a, left, short, q); err != nil {
			return Pick{}, err
		}
	}
}

// await joins the account's refresh. A failure is no error: it shows in the account, and the next choice avoids it.
// Where there is a token that may be fine, the wait is short.
func (s *Store) await(ctx context.Context, a *rotation.Account, limit, short time.Duration, q PickRequest) error {
	s.tokenExpired(a, q.who()...)
	if seatOf(a).HasToken(time.Now().UnixNano()) {
		limit = min(limit, short)
	}
	f := s.keeper.Join(a, seatOf(a).Generation(), record.TriggerRequest)
	if f.Wait(ctx, limit) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	seatOf(a).Tire()
	return nil // out of time: the caller's deadline says so
}

func (s *Store) pick(
	r *selection.Route, u *selection.Upstream, seat *selection.Seat, q PickRequest, now int64,
) (Pick, bool) {
	t, ok := seat.Take(now)
	if !ok {
		return Pick{}, false // gone or taken since the choice
	}
	if !s.served.Load() {
		s.served.Store(true)
	}
	if q.Trail.Attempts() > 0 {
		s.noteFailover(q, u, seat.ID)
	}
	return Pick{
		Upstream: u.Name, Cluster: u.Cluster, Account: seat.ID, Provider: u.Pool.Provider, Generation: t.Generation,
		Headers: t.Headers, route: r, upstream: u, seat: seat, tenant: q.Tenant, client: q.Client, path: q.Path,
		request: q.RequestID, attempt: q.Trail.Attempts() + 1, at: now,
	}, true
}

// driver is the one of the pick's provider.
func (s *Store) driver(p Pick) Driver { return s.cfg.Drivers[p.Provider] }

// shape tells requests of different kinds apart: who asks, and for what.
func (p Pick) shape() uint64 { return selection.Shape(p.client, p.path) }

// fault names the requests that are guilty if this one is: of this shape, to these accounts.
func (p Pick) fault() uint64 {
	return selection.Shape(p.client, p.path, p.upstream.Pool.Name, p.tenant)
}
