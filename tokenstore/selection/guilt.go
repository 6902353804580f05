package selection

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	guiltRecent     = time.Minute
	guiltRemembered = 10 * time.Minute
	guiltKept       = 1024
)

// Guilt says how lately requests of a shape were found guilty.
type Guilt struct {
	recent     bool // within a minute
	remembered bool // within ten
}

// Guilty remembers which requests, by their shape, were found guilty, and when. The zero value is ready. Safe for
// concurrent use.
type Guilty struct {
	any atomic.Bool // there is one: accepted attempts look

	mu     sync.Mutex // guards what follows
	at     map[uint64]time.Time
	pruned time.Time
}

// Note remembers a guilty request.
func (g *Guilty) Note(request uint64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at == nil || len(g.at) >= guiltKept {
		g.at = map[uint64]time.Time{}
	}
	g.at[request] = now
	g.any.Store(true)
}

// Of says what is known of requests like this one.
func (g *Guilty) Of(request uint64, now time.Time) Guilt {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, known := g.at[request]
	ago := now.Sub(at)
	return Guilt{recent: known && ago < guiltRecent, remembered: known && ago < guiltRemembered}
}

// Any reports whether any request is remembered. Cheap.
func (g *Guilty) Any() bool { return g.any.Load() }

// Forget ends what is held against requests like this one: one of them was accepted.
func (g *Guilty) Forget(request uint64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.at, request)
	if now.Sub(g.pruned) > time.Minute { // what nobody accepts ends by its age
		g.pruned = now
		maps.DeleteFunc(g.at, func(_ uint64, at time.Time) bool { return now.Sub(at) > guiltRemembered })
	}
	g.any.Store(len(g.at) > 0)
}
