package selection

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// start is the instant at which tests look.
var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// in is an instant after the start, in Unix nanoseconds.
func in(d time.Duration) int64 { return start.Add(d).UnixNano() }

const (
	red, blue = 1, 2 // shapes of requests
	long      = 3 * time.Hour
)

// newSeat returns a seat with an endless token, which change may alter.
func newSeat(id record.ID, change ...func(*View)) *Seat {
	s := NewSeat(id, func() {})
	v := View{Token: &Token{Generation: 2, UsableUntil: Never}}
	for _, c := range change {
		c(&v)
	}
	s.Publish(v, start.Add(-long))
	return s
}

func static(v *View)         { v.Static, v.Refreshable = true, Never }
func deadCredential(v *View) { v.Dead, v.Refreshable = true, Never }
func ended(v *View)          { v.Token.UsableUntil = in(0) }
func oneAtOnce(v *View)      { v.Concurrency = 1 }
func oneAMinute(v *View)     { v.RPM = 1 }
func acceptedOnce(v *View)   { v.Token.accepted.Store(true) }
func without(v *View)        { v.Token, v.Refreshable = nil, Never }
func refuse(s *Seat)         { refuseAt(s, red, start) }
func take(s *Seat)           { s.Take(in(0)) }
func cool(s *Seat)           { s.Limited(in(0), time.Minute, verdict.ScopeAccount, start) }
func refuseTwice(s *Seat)    { refuse(s); refuseAt(s, blue, start) }

func refuseAt(s *Seat, shape uint64, now time.Time) {
	s.Judge(Refused{Class: verdict.ClassTokenRejected, Generation: s.Generation(), Shape: shape}, now)
}

// kind is a seat in one of the states that a choice tells apart.
type kind struct {
	name string
	rank int // after all seats of a lower one, wherever they are
	seat func(id record.ID, change ...func(*View)) *Seat
}

func made(base []func(*View), then func(*Seat)) func(record.ID, ...func(*View)) *Seat {
	return func(id record.ID, change ...func(*View)) *Seat {
		s := newSeat(id, slices.Concat(base, change)...)
		then(s)
		return s
	}
}

// kinds are in the order in which they serve.
var kinds = []kind{
	{"living", rankSuspect, made(nil, func(*Seat) {})},
	{"refreshable", rankSuspect, made([]func(*View){ended}, func(*Seat) {})},
	{"suspect", rankSuspect, made([]func(*View){static}, refuse)},
	{"benched", rankBenched, made([]func(*View){static}, refuseTwice)},
	{"dead", rankDead, made([]func(*View){deadCredential, acceptedOnce}, refuseTwice)},
}

// boardOf is a board with the route r over an upstream and a pool for each group of seats: u0 over p0, and so on.
func boardOf(t *testing.T, random float64, groups ...[]*Seat) *Board {
	t.Helper()
	upstreams, pools := map[string]UpstreamConfig{}, map[string]PoolConfig{}
	var names []string
	var members []Member
	for i, group := range groups {
		pool, upstream := fmt.Sprintf("p%d", i), fmt.Sprintf("u%d", i)
		pools[pool] = PoolConfig{Provider: "x", Select: LeastLoaded}
		upstreams[upstream] = UpstreamConfig{Pool: pool}
		names = append(names, upstream)
		for _, s := range group {
			members = append(members, Member{Seat: s, Provider: "x", Pools: []string{pool}})
		}
	}
	draw := func() float64 { return random }
	b, err := NewBoard(map[string]RouteConfig{"r": {Upstreams: names}}, upstreams, pools, draw)
	if err != nil {
		t.Fatal(err)
	}
	b.Fill(members)
	return b
}

func chosen(r *Route, trail *Trail, own *Seat) string {
	_, s, _ := r.Choose(in(0), "", trail, own)
	if s == nil {
		return ""
	}
	return string(s.ID)
}

func TestABoardNamesWhatIsNotConfigured(t *testing.T) {
	pools := map[string]PoolConfig{"p": {Provider: "x"}}
	for want, c := range map[string]struct {
		routes    map[string]RouteConfig
		upstreams map[string]UpstreamConfig
	}{
		`upstream u: pool "q" is not configured`:  {nil, map[string]UpstreamConfig{"u": {Pool: "q"}}},
		`route r: upstream "v" is not configured`: {map[string]RouteConfig{"r": {Upstreams: []string{"v"}}}, nil},
	} {
		if _, err := NewBoard(c.routes, c.upstreams, pools, nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if boardOf(t, 0).Route("other") != nil {
		t.Error("a route that is not configured was found")
	}
}

func TestTheBetterSeatOfAPoolServesWhereverItIs(t *testing.T) {
	for better := range kinds {
		for worse := better + 1; worse < len(kinds); worse++ {
			good, bad := kinds[better], kinds[worse]
			t.Run(good.name+" before "+bad.name, func(t *testing.T) {
				a, b := good.seat("good"), bad.seat("bad")
				for _, seats := range [][]*Seat{{a, b}, {b, a}} {
					_, s, living := boardOf(t, 0, seats).Route("r").Choose(in(0), "", nil, nil)
					if s != a || living != (good.name != "refreshable") {
						t.Errorf("chose %v, at once %t", s, living)
					}
				}
				if got := chosen(boardOf(t, 0, []*Seat{b}).Route("r"), nil, nil); got != "bad" {
					t.Errorf("alone: chose %q", got)
				}
			})
		}
	}
}

func TestTheFirstUpstreamServesUnlessItsSeatIsBenchedOrDead(t *testing.T) {
	for _, first := range kinds {
		for _, second := range kinds {
			t.Run(first.name+" then "+second.name, func(t *testing.T) {
				want := "first"
				if second.rank < first.rank {
					want = "second"
				}
				r := boardOf(t, 0, []*Seat{first.seat("first")}, []*Seat{second.seat("second")}).Route("r")
				if got := chosen(r, nil, nil); got != want {
					t.Errorf("chose %q, want %q", got, want)
				}
			})
		}
	}
}

func TestAnUnreachableUpstreamComesLast(t *testing.T) {
	lost := (*Trail)(nil).Extend(Attempt{Upstream: "u0", Class: verdict.ClassUnreachable}, Situation{}, 0, "", start)
	for name, c := range map[string]struct {
		second kind
		trail  *Trail
		want   string
	}{
		"after a suspect seat of another":         {kinds[2], nil, "second"},
		"before a benched seat of another":        {kinds[3], nil, "first"},
		"not at all for a request that saw it":    {kinds[3], lost, "second"},
		"not at all, even if nobody else is left": {kind{seat: made([]func(*View){without}, func(*Seat) {})}, lost, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := boardOf(t, 0, []*Seat{newSeat("first")}, []*Seat{c.second.seat("second")}).Route("r")
			r.Upstreams[0].Unreachable(start)
			if got := chosen(r, c.trail, nil); got != c.want {
				t.Errorf("chose %q, want %q", got, c.want)
			}
		})
	}
}

func TestAnUpstreamIsLeftOutLongerEachTimeUntilItIsReached(t *testing.T) {
	r := boardOf(t, 0, []*Seat{newSeat("first")}, []*Seat{newSeat("second")}).Route("r")
	u, now := r.Upstreams[0], start
	left := func() time.Duration { return time.Duration(u.downUntil.Load() - now.UnixNano()) }
	for _, want := range []int{1, 2, 4, 8, 16, 30, 30} {
		u.Unreachable(now)
		u.Unreachable(now.Add(time.Millisecond)) // the same event, seen by another request
		if got := left(); got != time.Duration(want)*time.Second {
			t.Errorf("left out for %v, want %d s", got, want)
		}
		now = now.Add(left())
		if _, s, _ := r.Choose(now.UnixNano(), "", nil, nil); s.ID != "first" {
			t.Errorf("when its time is up, %s serves", s.ID)
		}
	}
	u.Unreachable(now)
	u.Reached()
	if _, s, _ := r.Choose(now.UnixNano(), "", nil, nil); s.ID != "first" {
		t.Errorf("though it was reached, %s serves", s.ID)
	}
	u.Unreachable(now)
	if got := left(); got != time.Second {
		t.Errorf("after it was reached it is left out for %v, want 1s", got)
	}
}

func TestADeadSeatWaitsForALimitToEnd(t *testing.T) {
	cooling := made(nil, cool)("cooling")
	r := boardOf(t, 0, []*Seat{kinds[4].seat("dead")}, []*Seat{cooling}).Route("r")
	if got := chosen(r, nil, nil); got != "" {
		t.Errorf("chose %q while another is only rate limited", got)
	}
	alone := boardOf(t, 0, []*Seat{kinds[4].seat("dead")}).Route("r")
	if got := chosen(alone, nil, nil); got != "dead" {
		t.Errorf("chose %q where nobody else is left", got)
	}
}

func TestACoolingSeatOfNoKindServes(t *testing.T) {
	for _, k := range kinds {
		s := k.seat("a")
		cool(s)
		if got := chosen(boardOf(t, 0, []*Seat{s}).Route("r"), nil, nil); got != "" {
			t.Errorf("%s: chose %q", k.name, got)
		}
	}
}

func TestAFullSeatServesOnlyInPlaceOfItsOwnAttempt(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := k.seat("a", oneAtOnce)
			r := boardOf(t, 0, []*Seat{s}).Route("r")
			if _, ok := s.Take(in(0)); !ok {
				t.Fatal("the first attempt found no place")
			}
			if got := chosen(r, nil, nil); got != "" {
				t.Errorf("with no place left it serves: %q", got)
			}
			if got := chosen(r, nil, newSeat("b")); got != "" {
				t.Errorf("another seat's attempt ends, and it serves: %q", got)
			}
			if got := chosen(r, nil, s); got != "a" {
				t.Errorf("though its own attempt ends, it does not serve: %q", got)
			}
			s.Release()
			if got := chosen(r, nil, nil); got != "a" {
				t.Errorf("though its attempt has ended, it does not serve: %q", got)
			}
		})
	}
}

func TestASeatWithoutRateServesAgainAfterAMinute(t *testing.T) {
	s := newSeat("a", oneAMinute)
	r := boardOf(t, 0, []*Seat{s}).Route("r")
	s.Take(in(0))
	s.Release()
	for after, want := range map[time.Duration]bool{0: false, time.Minute - 1: false, time.Minute: true} {
		if _, got, _ := r.Choose(in(after), "", nil, s); (got == s) != want {
			t.Errorf("after %v it serves: %t, want %t", after, got == s, want)
		}
	}
}

func TestARequestTriesASeatAgainOnlyWithANewerToken(t *testing.T) {
	tried := func(gens ...record.Generation) (t *Trail) {
		for _, g := range gens {
			t = t.Extend(Attempt{Account: "a", Generation: g, Class: verdict.ClassTokenRejected}, Situation{}, 401, "", start)
		}
		return t
	}
	for _, k := range kinds {
		for name, c := range map[string]struct {
			trail  *Trail
			serves bool
		}{
			"first attempt":               {nil, true},
			"refused with this token":     {tried(2), false},
			"refused with an older token": {tried(1), k.name != "refreshable"}, // one refresh a request is enough
			"refused with two older ones": {tried(0, 1), false},
			"refused by somebody else":    {(*Trail)(nil).Extend(Attempt{Account: "b"}, Situation{}, 0, "", start), true},
			"refused with a newer one":    {tried(3), false},
		} {
			t.Run(k.name+", "+name, func(t *testing.T) {
				if got := chosen(boardOf(t, 0, []*Seat{k.seat("a")}).Route("r"), c.trail, nil); (got == "a") != c.serves {
					t.Errorf("chose %q", got)
				}
			})
		}
	}
}

func TestThePreferredSeatServesIfItCan(t *testing.T) {
	for name, c := range map[string]struct {
		preferred func(*Seat)
		want      string
	}{
		"though it is loaded":           {func(*Seat) {}, "last"},
		"not while it cools":            {cool, "s0"},
		"not when it is suspect":        {refuse, "s0"},
		"not while its limits are used": {func(s *Seat) { s.Publish(s.changed(oneAtOnce), start) }, "s0"},
		"not without a token":           {func(s *Seat) { s.Publish(View{Refreshable: Never}, start) }, "s0"},
		"not with the refused token":    {nil, "s0"},
	} {
		t.Run(name, func(t *testing.T) {
			var seats []*Seat
			for i := range 2 * choices {
				seats = append(seats, newSeat(record.ID(fmt.Sprintf("s%d", i))))
			}
			last := newSeat("last")
			last.Take(in(0))
			trail := &Trail{tried: []Attempt{{Account: "last", Generation: 1}}, prefer: "last"}
			if c.preferred == nil {
				trail.tried[0].Generation = 2
			} else {
				c.preferred(last)
			}
			if got := chosen(boardOf(t, 0, append(seats, last)).Route("r"), trail, nil); got != c.want {
				t.Errorf("chose %q, want %q", got, c.want)
			}
		})
	}
}

func TestLeastLoadedComparesAFewFromADrawnOne(t *testing.T) {
	for name, c := range map[string]struct {
		random float64
		loads  []int
		want   int
	}{
		"the least of four":                     {0, []int{3, 2, 5, 1, 1, 1}, 3},
		"a fifth is not looked at":              {0, []int{3, 2, 5, 4, 1, 1}, 1},
		"the first of equals":                   {0, []int{3, 2, 2, 2, 1, 1}, 1},
		"the first idle one":                    {0, []int{3, 0, 0, 0, 0, 0}, 1},
		"from the one that was drawn":           {0.5, []int{3, 1, 1, 4, 3, 2}, 5},
		"the last one, then round to the first": {0.999, []int{2, 1, 3, 3, 3, 4}, 1},
		"all, where there are few":              {0.999, []int{2, 1, 3}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var seats []*Seat
			for i, load := range c.loads {
				s := newSeat(record.ID(fmt.Sprint(i)))
				for range load {
					s.Take(in(0))
				}
				seats = append(seats, s)
			}
			r := boardOf(t, c.random, seats).Route("r")
			if got := chosen(r, nil, nil); got != fmt.Sprint(c.want) {
				t.Errorf("chose %s, want %d", got, c.want)
			}
		})
	}
}

func TestOthersThanLivingSeatsAreNotCountedAmongTheFew(t *testing.T) {
	var seats []*Seat
	for range choices {
		for _, k := range kinds[1:] {
			seats = append(seats, k.seat("worse"))
		}
	}
	seats = append(seats, newSeat("living"))
	if got := chosen(boardOf(t, 0, seats).Route("r"), nil, nil); got != "living" {
		t.Errorf("chose a %q seat", got)
	}
}

func TestRoundRobinGoesOnWithTheNextThatCanServe(t *testing.T) {
	for name, c := range map[string]struct {
		seats []kind
		want  []string
	}{
		"all in turn":           {[]kind{kinds[0], kinds[0], kinds[0]}, []string{"1", "2", "0", "1", "2", "0"}},
		"past one that cannot":  {[]kind{kinds[0], kinds[3], kinds[0]}, []string{"2", "2", "0", "2", "2", "0"}},
		"only one can":          {[]kind{kinds[4], kinds[2], kinds[0]}, []string{"2", "2", "2"}},
		"those that are loaded": {[]kind{kinds[0], {seat: made(nil, take)}}, []string{"1", "0", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var seats []*Seat
			for i, k := range c.seats {
				seats = append(seats, k.seat(record.ID(fmt.Sprint(i))))
			}
			r := boardOf(t, 0.5, seats).Route("r")
			r.Upstreams[0].Pool.Select = RoundRobin
			var got []string
			for range c.want {
				got = append(got, chosen(r, nil, nil))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTenantsNeverCross(t *testing.T) {
	b := boardOf(t, 0, nil, nil)
	ours, theirs, nobodys := newSeat("ours"), newSeat("theirs"), newSeat("nobodys")
	b.Fill([]Member{
		{Seat: ours, Provider: "x", Pools: []string{"p0", "p1", "not configured"}, Tenant: "us"},
		{Seat: theirs, Provider: "x", Pools: []string{"p0"}, Tenant: "them"},
		{Seat: nobodys, Provider: "x", Pools: []string{"p1"}},
		{Seat: newSeat("foreign"), Provider: "y", Pools: []string{"p0", "p1"}, Tenant: "foreign"},
	})
	r := b.Route("r")
	for tenant, want := range map[string][]*Seat{
		"us": {ours, ours}, "them": {theirs}, "": {nobodys}, "foreign": nil, "unknown": nil,
	} {
		if got := r.Members(tenant); !slices.Equal(got, want) {
			t.Errorf("%q has %d seats, want %d", tenant, len(got), len(want))
		}
		_, s, _ := r.Choose(in(0), tenant, nil, nil)
		if len(want) == 0 && s != nil || len(want) > 0 && s != want[0] {
			t.Errorf("%q is served by %v", tenant, s)
		}
	}
	cool(ours)
	if _, s, _ := r.Choose(in(0), "us", nil, nil); s != nil {
		t.Errorf("with our account cooling, %s serves us", s.ID)
	}
}

func TestSeatsAreReplacedAllAtOnce(t *testing.T) {
	one, other := []*Seat{newSeat("a"), newSeat("b")}, []*Seat{newSeat("c"), newSeat("d"), newSeat("e")}
	b := boardOf(t, 0, one)
	var fillings [][]Member
	for _, seats := range [][]*Seat{other, one} {
		var members []Member
		for _, s := range seats {
			members = append(members, Member{Seat: s, Provider: "x", Pools: []string{"p0"}})
		}
		fillings = append(fillings, members)
	}
	r := b.Route("r")
	var filled atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 2000 {
			b.Fill(fillings[i%2])
		}
		filled.Store(true)
	})
	group.Go(func() {
		for last := false; !last; last = filled.Load() { // at least once
			if got := r.Members(""); !slices.Equal(got, one) && !slices.Equal(got, other) {
				t.Errorf("%d seats, neither those before nor those after", len(got))
			}
			if chosen(r, nil, nil) == "" {
				t.Error("between two fillings nobody serves")
			}
		}
	})
	group.Wait()
	b.Fill(nil)
	if got := r.Members(""); len(got) != 0 {
		t.Errorf("%d seats are left", len(got))
	}
}

func TestCapacityIsWhatTheSeatsOfRoutesCanDo(t *testing.T) {
	serves := Capacity{Living: true, Able: true, Serves: true}
	for name, c := range map[string]struct {
		seats []*Seat
		want  Capacity
	}{
		"nobody":          {nil, Capacity{}},
		"living":          {[]*Seat{kinds[0].seat("a")}, serves},
		"refreshable":     {[]*Seat{kinds[1].seat("a")}, Capacity{Able: true}},
		"suspect":         {[]*Seat{kinds[2].seat("a")}, serves},
		"benched":         {[]*Seat{kinds[3].seat("a")}, serves},
		"dead":            {[]*Seat{kinds[4].seat("a")}, Capacity{}},
		"without a token": {[]*Seat{newSeat("a", without)}, Capacity{}},
		"cooling":         {[]*Seat{made(nil, cool)("a")}, Capacity{Living: true}},
		"one cooling, one to refresh": {
			[]*Seat{made(nil, cool)("a"), newSeat("b", ended)}, Capacity{Living: true, Able: true},
		},
		"one that serves, among all": {[]*Seat{newSeat("a", without), kinds[4].seat("b"), newSeat("c")}, serves},
	} {
		if got := boardOf(t, 0, c.seats).Capacity(start); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		apart, err := NewBoard(nil, nil, map[string]PoolConfig{"p0": {Provider: "x"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.seats {
			apart.Fill([]Member{{Seat: s, Provider: "x", Pools: []string{"p0"}}})
		}
		if got := apart.Capacity(start); got != (Capacity{}) {
			t.Errorf("%s, in a pool of no route: %+v", name, got)
		}
	}
}

func TestFullCountsThoseThatOnlyTheirLimitsKeepAway(t *testing.T) {
	used := func(ago time.Duration, change func(*View)) func(*Seat) {
		return func(s *Seat) {
			s.Publish(s.changed(change), start)
			s.Take(in(-ago))
		}
	}
	left := 40 * time.Second
	now := used(0, oneAtOnce)
	for name, c := range map[string]struct {
		seats []func(*Seat)
		kind  int
		trail Trail
		n     int
		wait  time.Duration
	}{
		"nobody has limits":                  {seats: []func(*Seat){func(*Seat) {}}},
		"concurrency: nobody knows how long": {seats: []func(*Seat){now}, n: 1, wait: time.Second},
		"rate: until the window moves":       {seats: []func(*Seat){used(20*time.Second, oneAMinute)}, n: 1, wait: left},
		"never less than a second": {
			seats: []func(*Seat){used(time.Minute-1, oneAMinute)}, n: 1, wait: time.Second,
		},
		"the first of several": {seats: []func(*Seat){
			used(20*time.Second, oneAMinute), used(50*time.Second, oneAMinute), used(30*time.Second, oneAMinute),
		}, n: 3, wait: 10 * time.Second},
		"one that has room again":  {seats: []func(*Seat){used(2*time.Minute, oneAMinute)}, n: 1, wait: time.Second},
		"one that a refresh helps": {kind: 1, seats: []func(*Seat){now}, n: 1, wait: time.Second},
		"a suspect one":            {kind: 2, seats: []func(*Seat){now}, n: 1, wait: time.Second},
		"a benched one":            {kind: 3, seats: []func(*Seat){now}, n: 1, wait: time.Second},
		"tried by this request": {
			trail: Trail{tried: []Attempt{{Account: "a", Generation: 2}}}, seats: []func(*Seat){now},
		},
		"its upstream is unreachable": {trail: Trail{upstreams: []string{"u0"}}, seats: []func(*Seat){now}},
		"a cooldown keeps it away, too": {seats: []func(*Seat){func(s *Seat) {
			now(s)
			cool(s)
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			var seats []*Seat
			for _, prepare := range c.seats {
				s := kinds[c.kind].seat("a")
				prepare(s)
				seats = append(seats, s)
			}
			n, wait := boardOf(t, 0, seats).Route("r").Full("", &c.trail, start)
			if n != c.n || wait != c.wait {
				t.Errorf("%d full, room after %v; want %d, %v", n, wait, c.n, c.wait)
			}
			if n, _ := boardOf(t, 0, seats).Route("r").Full("other", &c.trail, start); n != 0 {
				t.Errorf("%d of them for another tenant", n)
			}
		})
	}
}

// changed is the view that was published last, altered.
func (s *Seat) changed(change ...func(*View)) View {
	v := s.health.view
	for _, c := range change {
		c(&v)
	}
	return v
}
