package selection

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// choices is how many fitting accounts least_loaded compares. Comparing a few drawn at random is nearly as good as
	// comparing all, and its cost does not grow with the pool.
	choices = 4
	// downMost is the longest that an unreachable upstream is left out; the first time 1 s, then doubling.
	downMost = 30 * time.Second
)

// RouteConfig is a route's order of upstreams and its policy.
type RouteConfig struct {
	Upstreams         []string      // in order of preference, at least one
	Attempts          int           // upstream attempts in all, 1 to 10
	FailOverRateLimit bool          // a 429 is tried elsewhere; false: passed on
	FailOverOverload  bool          // a 503 or 529 is tried elsewhere; false: passed on
	PassAuthFailure   bool          // the last refusal is passed as it came; false: 503 credentials_refused
	RecoveryTimeout   time.Duration // from the first refused attempt; after it no attempt is added
	RefreshWait       time.Duration // the longest wait for one refresh
}

// UpstreamConfig is a provider endpoint.
type UpstreamConfig struct {
	Pool    string
	Cluster string // name of the Envoy cluster
}

// PoolConfig is a set of interchangeable accounts.
type PoolConfig struct {
	Provider   string
	Select     Select
	MinHealthy int // below it the pool is reported as short
}

// Select is a pool's selection policy.
type Select uint8

// Selection policies.
const (
	LeastLoaded Select = iota + 1 // the fewest attempts under way, of four drawn at random
	RoundRobin
)

// Board is the configured routes and the seats of their pools. Immutable but for the seats and what is known of
// upstreams. Safe for concurrent use.
type Board struct {
	routes map[string]*Route
	pools  map[string]*Pool
}

// Route is a configured route with its upstreams resolved.
type Route struct {
	RouteConfig
	Name      string
	Upstreams []*Upstream // in order of preference, at least one
}

// Upstream is a configured upstream and what is known of its reachability.
type Upstream struct {
	UpstreamConfig
	Name string
	Pool *Pool

	downUntil atomic.Int64 // unreachable lately: others first; Unix nanoseconds
	downs     atomic.Int32 // times in a row
}

// Pool is a configured pool; its seats are grouped by tenant.
type Pool struct {
	PoolConfig
	Name string

	random  func() float64
	tenants atomic.Pointer[map[string]*segment] // replaced as a whole
}

// segment is the seats of one pool and tenant. Immutable but for the round-robin counter.
type segment struct {
	members []*Seat
	next    atomic.Uint64
}

// NewBoard resolves the names of a configuration. random draws from [0,1) and is safe for concurrent use. The error
// names what is not configured.
func NewBoard(
	routes map[string]RouteConfig, upstreams map[string]UpstreamConfig, pools map[string]PoolConfig, random func() float64,
) (*Board, error) {
	b := &Board{routes: map[string]*Route{}, pools: map[string]*Pool{}}
	for name, c := range pools {
		p := &Pool{PoolConfig: c, Name: name, random: random}
		p.tenants.Store(&map[string]*segment{})
		b.pools[name] = p
	}
	resolved := map[string]*Upstream{}
	for name, c := range upstreams {
		p := b.pools[c.Pool]
		if p == nil {
			return nil, fmt.Errorf("upstream %s: pool %q is not configured", name, c.Pool)
		}
		resolved[name] = &Upstream{UpstreamConfig: c, Name: name, Pool: p}
	}
	for name, c := range routes {
		r := &Route{RouteConfig: c, Name: name}
		for _, u := range c.Upstreams {
			if resolved[u] == nil {
				return nil, fmt.Errorf("route %s: upstream %q is not configured", name, u)
			}
			r.Upstreams = append(r.Upstreams, resolved[u])
		}
		b.routes[name] = r
	}
	return b, nil
}

// Route returns a route by its name; nil: it is not configured.
func (b *Board) Route(name string) *Route { return b.routes[name] }

// Member is a seat and where it belongs.
type Member struct {
	Seat     *Seat
	Provider string
	Pools    []string
	Tenant   string
}

// Fill puts seats into their pools, in place of those that were there. A pool takes seats of its own provider only.
func (b *Board) Fill(members []Member) {
	tenants := make(map[string]map[string]*segment, len(b.pools))
	for name := range b.pools {
		tenants[name] = map[string]*segment{}
	}
	for _, m := range members {
		for _, name := range m.Pools {
			p := b.pools[name]
			if p == nil || p.Provider != m.Provider {
				continue
			}
			seg := tenants[name][m.Tenant]
			if seg == nil {
				seg = &segment{}
				tenants[name][m.Tenant] = seg
			}
			seg.members = append(seg.members, m.Seat)
		}
	}
	for name, p := range b.pools {
		t := tenants[name]
		p.tenants.Store(&t)
	}
}

// Capacity is what the seats that routes can pick are able to do.
type Capacity struct {
	Living bool // one has a token that lives
	Able   bool // one can serve an attempt, at once or after a refresh
	Serves bool // at once
}

// Capacity looks at all seats until it finds one that serves.
func (b *Board) Capacity(at time.Time) (c Capacity) {
	now := at.UnixNano()
	for _, r := range b.routes {
		for _, u := range r.Upstreams {
			for _, seg := range *u.Pool.tenants.Load() {
				for _, s := range seg.members {
					living := s.alive(now)
					serves := living && s.coolUntil.Load() <= now
					c.Living = c.Living || living
					c.Able = c.Able || serves || s.Refreshable(now)
					if serves {
						c.Serves = true
						return c
					}
				}
			}
		}
	}
	return c
}

// Members are the seats that could serve a tenant's attempt on the route.
func (r *Route) Members(tenant string) []*Seat {
	var all []*Seat
	for _, u := range r.Upstreams {
		all = append(all, u.Pool.members(tenant)...)
	}
	return all
}

// Full says how many seats could serve an attempt but for their limits, and when the first of them may have room again.
// One that has room again by now is counted too: it had none when the attempt asked.
func (r *Route) Full(tenant string, trail *Trail, at time.Time) (n int, wait time.Duration) {
	now := at.UnixNano()
	for _, u := range r.Upstreams {
		if trail.unreachable(u.Name) {
			continue
		}
		for _, s := range u.Pool.members(tenant) {
			l := s.limits.Load()
			if l == nil || !s.eligible(now, trail) {
				continue
			}
			w := max(time.Duration(l.wait(now)), time.Second) // when attempts under way end, nobody knows
			if n++; n == 1 || w < wait {
				wait = w
			}
		}
	}
	return n, wait
}

// Choose walks the upstreams in order of preference, those that were unreachable lately last, and at each one prefers
// an account with a living token to one that needs a refresh first, and that to a suspect token. A benched account
// comes after all upstreams. One whose credential is dead, too, comes last, and not while an account waits for a
// limit's end. own, if any, serves an attempt that ends before the chosen one begins. living: the token can be used at
// once. nil: there is nobody. now is in Unix nanoseconds.
func (r *Route) Choose(now int64, tenant string, trail *Trail, own *Seat) (u *Upstream, s *Seat, living bool) {
	for rank := range ranks {
		if rank == rankDead && r.cooling(now, tenant) {
			break
		}
		for _, down := range [2]bool{false, true} {
			for _, u := range r.Upstreams {
				if (u.downUntil.Load() > now) != down || trail.unreachable(u.Name) {
					continue
				}
				if s, living := u.Pool.choose(now, tenant, trail, own, rank); s != nil {
					return u, s, living
				}
			}
		}
	}
	return nil, nil, false
}

// cooling reports whether an account could serve but for a limit.
func (r *Route) cooling(now int64, tenant string) bool {
	return slices.ContainsFunc(r.Upstreams, func(u *Upstream) bool {
		return slices.ContainsFunc(u.Pool.members(tenant), func(s *Seat) bool { return s.coolUntil.Load() > now })
	})
}

func (p *Pool) members(tenant string) []*Seat {
	if seg := (*p.tenants.Load())[tenant]; seg != nil {
		return seg.members
	}
	return nil
}

// choose chooses among the pool's seats: those with a living token, then one that needs a refresh, then one whose
// suspicion is of the rank. living: its token can be used at once.
func (p *Pool) choose(now int64, tenant string, trail *Trail, own *Seat, rank int) (chosen *Seat, living bool) {
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
	var asleep, spare *Seat
	var least int64
	for i := range n {
		at := start + i
		if at >= n {
			at -= n
		}
		s := seg.members[at]
		refreshable := s.Refreshable(now) // read before living: a refresh that ends meanwhile sets what living reads first
		switch {
		case s.Living(now):
			if !trail.admits(s.ID, s.Generation()) || !s.fits(now, s == own) {
				continue
			}
			if s.ID == prefer {
				return s, true
			}
			load := s.inflight.Load()
			if chosen == nil || load < least {
				chosen, least = s, load
			}
			if compare--; prefer == "" && (compare <= 0 || load == 0) { // nothing beats an idle account
				return chosen, true
			}
		case asleep == nil && refreshable && s.askable(now) && trail.fresh(s.ID) && s.fits(now, s == own):
			asleep = s
		case spare == nil:
			d := s.suspicion.Load()
			if d != nil && s.spare(now, d, rank) && trail.admits(s.ID, s.Generation()) && s.fits(now, s == own) {
				spare = s
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

// Reached ends what is held against an upstream that could not be reached.
func (u *Upstream) Reached() {
	if u.downs.Load() != 0 {
		u.downs.Store(0)
		u.downUntil.Store(0)
	}
}

// Unreachable leaves the upstream out for a while.
func (u *Upstream) Unreachable(now time.Time) {
	if u.downUntil.Load() > now.UnixNano() {
		return // one event, seen by many
	}
	pause := min(time.Second<<min(u.downs.Add(1)-1, 10), downMost)
	u.downUntil.Store(now.Add(pause).UnixNano())
}
