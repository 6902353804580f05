// Package chaos is the fault storm: real service processes on one real Vault and a strict provider, with everything
// that can go wrong going wrong at the protocol's named points and at random, several things at once. Afterwards every
// account must serve, or be in the one state that no protocol can prevent, and the test's own ledger must say the same.
//
//	make chaos SEED=7 FAULTS=1000
//
// The seed fixes which faults are drawn, in which order, against whom. When exactly they strike depends on the
// processes.
package chaos

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// workers is how many faults are under way at once.
const workers = 6

func TestFaultStorm(t *testing.T) {
	seed, faults := number(t, "SEED", uint64(time.Now().UnixNano())%1_000_000), int(number(t, "FAULTS", 100))
	t.Logf("SEED=%d FAULTS=%d", seed, faults)
	w := newWorld(t)
	rep := newReport(seed)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wait := w.traffic(ctx, rep)
	w.storm(ctx, t, rep, seed, faults)
	w.calm(t, rep)
	cancel()
	wait()
	w.judge(t, rep)
	rep.write(t, w)
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		t.Fatalf("%s=%s: use a whole number", variable, v)
	}
	return n
}

// storm strikes until as many faults as wanted have come about.
func (w *world) storm(ctx context.Context, t *testing.T, rep *report, seed uint64, faults int) {
	rng := rand.New(rand.NewPCG(seed, seed))
	limit := time.Now().Add(time.Duration(faults)*time.Second + 30*time.Second)
	var mu sync.Mutex // guards the generator and the count
	drawn := 0
	next := func() (fault, bool) {
		mu.Lock()
		defer mu.Unlock()
		if rep.struck() >= faults || time.Now().After(limit) || t.Failed() {
			return fault{}, false
		}
		drawn++
		return draw(rng, drawn, w.names), true
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for f, ok := next(); ok; f, ok = next() {
				began := time.Now()
				hit, err := f.kind.strike(ctx, w, f)
				if err != nil {
					t.Errorf("fault %d, %s on replica %d and %s: %v", f.number, f.kind.name, f.replica, f.account, err)
				}
				rep.note(f, hit, began)
			}
		})
	}
	wg.Wait()
	if rep.struck() < faults && !t.Failed() {
		t.Errorf("only %d of %d faults came about in time", rep.struck(), faults)
	}
}

// traffic has clients ask through the first replica's gateway, as fast as people do.
func (w *world) traffic(ctx context.Context, rep *report) (wait func()) {
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				a, err := w.replicas[0].Post(ctx, "", "", strings.NewReader("{}"))
				if ctx.Err() == nil {
					rep.answer(a.Status, err)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	return wg.Wait
}
