package provider

import (
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// limits are where a provider says how long an account is to stay away, and what room it has. Of several signals count,
// in this order:
//
//  1. what the server asks for outright (Retry-After and its like, in headers or body), and usage windows that are said
//     to be used up, which do not refill before their reset: the latest of them;
//  2. buckets that are said to be empty: the latest reset. They refill all the time, so that what the server asks for
//     outright is shorter, and better;
//  3. windows and buckets of which only the reset is told.
//
// What is negative, not a number, past, or no instant that a limit could mean is no signal. Nothing exceeds
// longestWait.
type limits struct {
	asked   []ask            // headers in which a server asks outright, the most exact first: one counts
	fields  []ask            // likewise in an error object, or the end of a window that is used up: all count
	buckets []bucket         // limits that refill
	windows []func(*signals) // usage windows, read each in its own way
	room    []string         // headers that tell how much is left of a limit, or of all of them
}

// ask is a header or field with the time to stay away.
type ask struct {
	name string
	unit time.Duration // of a bare number; 0: it is an instant
}

// bucket is a pair of headers that tell what is left of a limit, and when it is whole again.
type bucket struct{ left, reset string }

// and is both. In the end a server's most exact wish counts, so that the finer units must come first.
func (l limits) and(more limits) limits {
	both := limits{
		asked: slices.Concat(l.asked, more.asked), fields: slices.Concat(l.fields, more.fields),
		buckets: slices.Concat(l.buckets, more.buckets), windows: slices.Concat(l.windows, more.windows),
		room: slices.Concat(l.room, more.room),
	}
	slices.SortStableFunc(both.asked, func(a, b ask) int { return int(a.unit - b.unit) })
	return both
}

// resetIn is how long a rate limit lasts, from now; 0 when nothing says. sure: the body would not tell better.
func (l limits) resetIn(resp tokenstore.Response, now time.Time) (wait time.Duration, sure bool) {
	s := signals{h: resp.Header, now: now}
	s.demand(l.asked)
	for _, read := range l.windows {
		read(&s)
	}
	s.buckets(l.buckets)
	s.body(resp.Body, l.fields)
	for _, d := range []time.Duration{s.firm, s.empty} {
		if d > 0 {
			return min(d, longestWait), true
		}
	}
	return min(s.vague, longestWait), false
}

// demandIn is how long the server asks to stay away in a header, from now; 0 when it does not.
func (l limits) demandIn(h tokenstore.HeaderGetter, now time.Time) time.Duration {
	s := signals{h: h, now: now}
	s.demand(l.asked)
	return min(s.firm, longestWait)
}

// signals gathers the latest instants, by rank, as durations from now.
type signals struct {
	h                  tokenstore.HeaderGetter
	now                time.Time
	firm, empty, vague time.Duration
}

func (s *signals) demand(asked []ask) {
	for _, a := range asked {
		if d := s.span(a.name, a.unit); d > 0 {
			s.firm = max(s.firm, d)
			return
		}
	}
}

func (s *signals) buckets(all []bucket) {
	for _, b := range all {
		d := s.span(b.reset, time.Second)
		switch left, known := number(s.h.Get(b.left)); {
		case !known:
			s.vague = max(s.vague, d)
		case left <= 0:
			s.empty = max(s.empty, d)
		}
	}
}

// window takes the reset of a usage window. used: it is said to be used up.
func (s *signals) window(used bool, d time.Duration) {
	if used {
		s.firm = max(s.firm, d)
	} else {
		s.vague = max(s.vague, d)
	}
}

// span reads a header with a duration: a bare number counts units.
func (s *signals) span(name string, unit time.Duration) time.Duration {
	return s.header(name, func(v string) time.Duration { return span(v, unit, s.now) })
}

// instant reads a header with a moment.
func (s *signals) instant(name string) time.Duration {
	return s.header(name, func(v string) time.Duration { return instant(v, s.now) })
}

// header reads a header, or the longest of its values when it came more than once.
func (s *signals) header(name string, read func(string) time.Duration) time.Duration {
	v := s.h.Get(name)
	if v == "" {
		return 0
	}
	if d := read(v); d > 0 || !strings.Contains(v, ",") {
		return d
	}
	var longest time.Duration
	for part := range strings.SplitSeq(v, ",") {
		longest = max(longest, read(strings.TrimSpace(part)))
	}
	return longest
}
