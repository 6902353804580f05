package simulation

import (
	"fmt"
	"sync"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// world is one run: it lives in one synctest bubble.
type world struct {
	plan  plan
	shelf *shelf
	as    *server
	epoch time.Time
	loud  bool // keeps the history as lines

	mu       sync.Mutex // guards what follows, the shelf and the server
	counts   [][]int    // of operations, by service and account
	pending  [][][]*fault
	struck   int
	missed   int // edits that came too soon after another
	calm     bool
	over     bool
	sealed   time.Time // until then
	services []*service
	ledger   *ledger
	digest   uint64
	lines    []string
	chores   sync.WaitGroup
	edits    int
	busy     []time.Duration   // by account: no edit of its credential before
	held     map[string]func() // what an operator has begun and will end, by account and name
	end      chan struct{}     // closed at the end: whoever waits stops
}

func newWorld(p plan, loud bool) *world {
	w := &world{
		plan: p, loud: loud, epoch: time.Now(), ledger: newLedger(p), held: map[string]func(){},
		busy: make([]time.Duration, len(p.policies)), end: make(chan struct{}),
	}
	w.shelf, w.as = newShelf(p.seed), newServer(w)
	for s := range p.services {
		w.counts = append(w.counts, make([]int, len(p.policies)+1))
		w.pending = append(w.pending, make([][]*fault, len(p.policies)+1))
		w.services = append(w.services, &service{w: w, number: s, shift: p.shifts[s], disk: &disk{}})
	}
	for i := range p.faults {
		f := &p.faults[i]
		w.pending[f.service][f.account+1] = append(w.pending[f.service][f.account+1], f)
	}
	for i := range p.policies {
		id := accountID(i)
		w.put(tokenstore.AccountID(id), documentOf(w.as.record(i, w.as.signIn(i))))
	}
	return w
}

// now is the instant, since the beginning.
func (w *world) now() time.Duration { return time.Since(w.epoch) }

// random is a draw that depends on the seed, the instant and who asks, not on what was drawn before: so two that draw
// in the same instant, in whichever order, change nothing.
func (w *world) random(salt uint64) float64 {
	return float64(mix(w.plan.seed^mix(salt)^mix(uint64(w.now())))>>11) / (1 << 53)
}

// mix is splitmix64's finalizer.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// salt is words as a number.
func salt(parts ...int) uint64 {
	var x uint64
	for _, p := range parts {
		x = mix(x ^ uint64(p))
	}
	return x
}

// note makes what happened a part of the history's digest: a sum, so that the order of what happens in one instant is
// no part of it.
func (w *world) note(service, account int, code uint64) {
	w.digest += mix(uint64(w.now()) ^ mix(code^mix(uint64(service)<<32|uint64(uint32(account)))))
}

func (w *world) say(format string, args ...any) {
	if w.loud {
		w.lines = append(w.lines, fmt.Sprintf("%12s  ", w.now().Truncate(time.Microsecond))+fmt.Sprintf(format, args...))
	}
}

// chore runs f in its own goroutine, which the world waits for at its end.
func (w *world) chore(f func()) { w.chores.Go(f) }

// sleep waits, and reports whether the world still goes on.
func (w *world) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.end:
		return false
	}
}

// later does something, under the lock, unless the world has ended or what was held was let go before.
func (w *world) later(d time.Duration, key string, f func()) {
	w.held[key] = f
	w.chore(func() {
		if w.sleep(d) {
			w.mu.Lock()
			w.letGo(key)
			w.mu.Unlock()
		}
	})
}

func (w *world) letGo(key string) {
	if f := w.held[key]; f != nil {
		delete(w.held, key)
		f()
	}
}

// next is the fault that strikes this operation; nil: none. It counts the operation.
func (w *world) next(service, account int, k kind) (f *fault, n int) {
	w.counts[service][account+1]++
	n = w.counts[service][account+1]
	if w.calm {
		return nil, n
	}
	open := w.pending[service][account+1]
	for i, f := range open {
		if f.n > n {
			break
		}
		if f.kinds&k != 0 {
			w.pending[service][account+1] = append(open[:i:i], open[i+1:]...)
			w.struck++
			return f, n
		}
	}
	return nil, n
}

// run plays the plan to its end, and returns what the judges have to say.
func (w *world) run() {
	for _, s := range w.services {
		w.mu.Lock()
		s.launch()
		w.mu.Unlock()
		for c := range w.plan.clients {
			w.chore(func() { s.client(c) })
		}
	}
	w.chore(w.operator)
	w.storm()
	w.settle()
	w.finish()
}

// storm lasts until every fault has struck, or nobody comes by those that are left.
func (w *world) storm() {
	idle, last := 0, -1
	for idle < 4 {
		time.Sleep(time.Minute)
		w.mu.Lock()
		struck := w.struck + w.missed
		w.mu.Unlock()
		if struck == len(w.plan.faults) {
			return
		}
		if idle++; struck != last {
			idle, last = 0, struck
		}
	}
}

// settle ends all that is wrong, and gives the services the time that the protocol may take: leases, a token's life,
// the longest pauses. Then every account has to serve without anybody's waiting.
func (w *world) settle() {
	w.mu.Lock()
	w.calm = true
	w.sealed = time.Time{}
	w.say("the storm is over")
	for _, s := range w.services {
		s.cutOff = time.Time{}
		if s.now == nil && !s.gone {
			s.launch()
		}
	}
	for i := range w.plan.policies {
		for _, o := range operations {
			w.letGo(accountID(i) + o.name)
		}
		w.tidy(i)
	}
	w.mu.Unlock()
	time.Sleep(2*w.plan.life + 3*w.plan.lease + 2*backoffMost + 3*time.Minute)
	w.mu.Lock()
	w.ledger.settled = w.now()
	w.mu.Unlock()
	time.Sleep(2 * w.plan.life)
	w.mu.Lock()
	w.testify()
	w.mu.Unlock()
}

// finish stops everybody. A journal that is not empty then gets one more start: what was saved, and could not be taken
// out of it, is found done.
func (w *world) finish() {
	w.stopAll()
	again := false
	w.mu.Lock()
	for _, s := range w.services {
		if len(s.disk.entries) > 0 && !s.gone {
			s.launch()
			again = true
		}
	}
	w.mu.Unlock()
	if again {
		time.Sleep(time.Minute)
		w.stopAll()
	}
	w.mu.Lock()
	w.over = true
	close(w.end)
	w.mu.Unlock()
	w.chores.Wait()
	time.Sleep(2 * time.Minute) // what dead processes have left running ends
	for _, s := range w.services {
		left := len(s.disk.entries)
		if s.gone {
			left = 0
		}
		w.ledger.journals = append(w.ledger.journals, left)
	}
}

func (w *world) stopAll() {
	w.mu.Lock()
	var last []*life
	for _, s := range w.services {
		if s.now != nil {
			last = append(last, s.now)
		}
	}
	w.mu.Unlock()
	for _, l := range last {
		l.stop()
	}
}
