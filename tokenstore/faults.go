package tokenstore

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	faultsRemember = 10 * time.Minute
	faultsKept     = 1024
)

// fault names the requests that are guilty if this one is: of this shape, to these accounts.
func (p Pick) fault() uint64 { return hash(p.client, p.path, p.upstream.pool.name, p.tenant) }

// faults remembers which requests (Pick.fault) were found guilty, and when. The zero value is ready.
type faults struct {
	any atomic.Bool // there is one: accepted attempts look

	mu     sync.Mutex // guards what follows
	at     map[uint64]time.Time
	pruned time.Time
}

func (f *faults) note(request uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil || len(f.at) >= faultsKept {
		f.at = map[uint64]time.Time{}
	}
	f.at[request] = now
	f.any.Store(true)
}

func (f *faults) within(d time.Duration, request uint64, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, known := f.at[request]
	return known && now.Sub(at) < d
}

func (f *faults) forget(request uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.at, request)
	if now := time.Now(); now.Sub(f.pruned) > time.Minute { // what nobody accepts ends by its age
		f.pruned = now
		maps.DeleteFunc(f.at, func(_ uint64, at time.Time) bool { return now.Sub(at) > faultsRemember })
	}
	f.any.Store(len(f.at) > 0)
}
