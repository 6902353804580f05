package selection

import (
	"sync"
	"sync/atomic"
	"time"
)

// minute is the window of Limits.RPM in nanoseconds.
const minute = int64(time.Minute)

// Full says which of its own limits leaves an account no room.
type Full struct {
	Key   string    // rpm or concurrency
	Most  int       // the limit
	Until time.Time // when there is room again; zero: when an attempt ends
}

// limiter holds an account to its limits in this process. Immutable but for the window.
type limiter struct {
	concurrency int64   // 0: any
	window      *window // nil: any rate
}

// newLimiter returns what enforces the limits, nil when there are none. What old counted still counts.
func newLimiter(rpm, concurrency int, old *limiter) *limiter {
	if rpm == 0 && concurrency == 0 {
		return nil
	}
	next := &limiter{concurrency: int64(concurrency)}
	if rpm > 0 {
		next.window = &window{times: make([]int64, rpm)}
		if old != nil && old.window != nil {
			next.window.inherit(old.window)
		}
	}
	return next
}

// is reports whether the limiter enforces just these limits; nil: none.
func (l *limiter) is(rpm, concurrency int) bool {
	switch {
	case l == nil:
		return rpm == 0 && concurrency == 0
	case l.window == nil:
		return rpm == 0 && l.concurrency == int64(concurrency)
	}
	return len(l.window.times) == rpm && l.concurrency == int64(concurrency)
}

// fits reports whether the limits leave room for one attempt more. own: one of those under way ends before it begins.
func (s *Seat) fits(now int64, own bool) bool {
	l := s.limits.Load()
	return l == nil || l.fits(s.inflight.Load(), now, own)
}

func (l *limiter) fits(load, now int64, own bool) bool {
	if own {
		load--
	}
	return (l.concurrency == 0 || load < l.concurrency) && l.wait(now) == 0
}

// reserve keeps the room for one attempt; false: somebody else has taken the last.
func (s *Seat) reserve(now int64) bool {
	if l := s.limits.Load(); l != nil {
		return l.take(&s.inflight, now)
	}
	s.inflight.Add(1)
	return true
}

func (l *limiter) take(inflight *atomic.Int64, now int64) bool {
	for {
		load := inflight.Load()
		if l.concurrency > 0 && load >= l.concurrency {
			return false
		}
		if inflight.CompareAndSwap(load, load+1) {
			break
		}
	}
	if l.window == nil || l.window.take(now) {
		return true
	}
	inflight.Add(-1)
	return false
}

// wait is how long the rate leaves no room, in nanoseconds.
func (l *limiter) wait(now int64) int64 {
	if l.window == nil {
		return 0
	}
	return left(l.window.free.Load(), now)
}

// Full says which limit leaves no room for another attempt, nil when there is room.
func (s *Seat) Full(at time.Time) *Full {
	l, now := s.limits.Load(), at.UnixNano()
	switch {
	case l == nil:
		return nil
	case l.wait(now) > 0:
		return &Full{Key: "rpm", Most: len(l.window.times), Until: at.Add(time.Duration(l.wait(now)))}
	case l.concurrency > 0 && s.inflight.Load() >= l.concurrency:
		return &Full{Key: "concurrency", Most: int(l.concurrency)}
	}
	return nil
}

// left is the time until then. More than a minute can only come from a clock that was set back, and nobody waits for
// it.
func left(then, now int64) int64 {
	if d := then - now; d > 0 && d <= minute {
		return d
	}
	return 0
}

// window lets through as many attempts as it has times in any 60 seconds, at once or spread.
type window struct {
	free atomic.Int64 // when there is room next, for readers without the lock; Unix nanoseconds

	mu    sync.Mutex // guards what follows
	times []int64    // the latest attempts, a ring; 0: none yet
	next  int        // the oldest of them
}

func (w *window) take(now int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left(w.free.Load(), now) > 0 {
		return false
	}
	w.noteLocked(now)
	return true
}

func (w *window) noteLocked(at int64) {
	w.times[w.next] = at
	w.next = (w.next + 1) % len(w.times)
	w.free.Store(0)
	if oldest := w.times[w.next]; oldest != 0 {
		w.free.Store(oldest + minute)
	}
}

// inherit takes over what another window counted. w is not in use yet.
func (w *window) inherit(old *window) {
	old.mu.Lock()
	defer old.mu.Unlock()
	for i := range old.times {
		if at := old.times[(old.next+i)%len(old.times)]; at != 0 {
			w.noteLocked(at)
		}
	}
}
