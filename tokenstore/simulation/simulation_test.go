package simulation

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	faultsPerSeed = 100
	fixedSeeds    = 850 // that every run of the tests plays: 1 to this, some 50,000 faults
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // histories are short-lived
	os.Exit(m.Run())
}

// result is what a run came to.
type result struct {
	plan    plan
	struck  int
	digest  uint64
	wrong   []string
	losses  map[window]int
	lines   []string
	virtual time.Duration
}

// play plays a plan in a bubble of its own.
func play(t *testing.T, p plan, loud bool) (res result) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(p, loud)
		w.run()
		res = result{plan: p, struck: w.struck, digest: w.digest, lines: w.lines, virtual: w.now()}
		res.wrong, res.losses = judged(w.ledger), losses(w.ledger)
	})
	return res
}

// TestNoSeedBreaksTheProtocol plays the fixed seeds and then fresh ones until enough faults have struck. With SEED it
// begins there. With SEED or STRICT fresh seeds fail it, too.
func TestNoSeedBreaksTheProtocol(t *testing.T) {
	total := int(number("FAULTS", defaultFaults))
	fresh := rand.Uint64N(1_000_000_000)
	seed := func(n int) uint64 {
		if n < fixedSeeds {
			return uint64(n) + 1
		}
		return fresh + uint64(n-fixedSeeds)
	}
	t.Logf("simulation: seeds 1 to %d, then fresh ones from %d on: make simulate SEED=%d", fixedSeeds, fresh, fresh)
	strict := os.Getenv("STRICT") != ""
	if first, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		strict = true
		seed = func(n int) uint64 { return first + uint64(n) }
	}
	sum := sums{losses: map[window]int{}, began: time.Now(), cpu: cpu()}
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
				t.Parallel()
				for {
					n, more := sum.next(total)
					if !more {
						return
					}
					res := play(t, draw(seed(n), faultsPerSeed), false)
					if len(res.wrong) > 0 {
						if sum.fail(); os.Getenv("HUNT") != "" {
							t.Errorf("caught after %d faults by seed %d: %s", sum.faults()+res.struck, res.plan.seed, res.wrong[0])
							return
						}
						tellSeed(t, res, strict || n < fixedSeeds)
					}
					sum.add(t, res)
				}
			})
		}
	})
	for line := range strings.Lines(sum.String()) {
		t.Log("simulation: " + strings.TrimSpace(line))
	}
}

// tellSeed prints the shortest history that it finds. A fresh seed that fails is a find: it is told, and fails a run
// that asks for it (make simulate). It does not fail the tests of a change that has nothing to do with it.
func tellSeed(t *testing.T, failed result, fails bool) {
	t.Helper()
	tell := t.Errorf
	if !fails {
		tell = func(format string, args ...any) { t.Logf("simulation: a find. "+format, args...) }
	}
	short := shrink(t, failed, 300)
	loud := play(t, short.plan, true)
	if len(loud.wrong) == 0 {
		loud = short // a race that has no seed
	}
	tell("seed %d fails:\n  %s\nthe shortest plan that fails so, of %d faults:\n%s\nits history:\n%s\n"+
		"what is wrong with it:\n  %s\nagain: make simulate SEED=%d FAULTS=1",
		failed.plan.seed, strings.Join(failed.wrong[:min(len(failed.wrong), 5)], "\n  "), len(short.plan.faults), short.plan,
		strings.Join(loud.lines, "\n"), strings.Join(loud.wrong, "\n  "), failed.plan.seed)
}

func number(variable string, otherwise uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv(variable), 10, 64); err == nil {
		return v
	}
	return otherwise
}

// sums are the figures of many runs.
type sums struct {
	began time.Time
	cpu   time.Duration // when it began

	mu      sync.Mutex // guards what follows
	seeds   int
	struck  int
	failed  int
	virtual time.Duration
	losses  map[window]int
	told    time.Time
}

// mostFailures are as many as end a run: the next would hardly tell more.
func mostFailures() int {
	if os.Getenv("HUNT") != "" { // for a planted fault
		return 1
	}
	return 3
}

func (s *sums) faults() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.struck
}

func (s *sums) next(total int) (n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.struck >= total || s.failed >= mostFailures() {
		return 0, false
	}
	s.seeds++
	return s.seeds - 1, true
}

func (s *sums) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed++
}

func (s *sums) add(t *testing.T, r result) {
	t.Helper()
	s.mu.Lock()
	s.struck += r.struck
	s.virtual += r.virtual
	for w, n := range r.losses {
		s.losses[w] += n
	}
	tell := time.Since(s.told) > 30*time.Second
	if tell {
		s.told = time.Now()
	}
	s.mu.Unlock()
	if tell {
		t.Log(s.String())
	}
}

func (s *sums) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := cpu() - s.cpu
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults in %d seeds: %s of virtual time, %s of CPU, %s: %.0f faults a second of CPU\n"+
		"sign-ins lost, by window of docs/vault.md:",
		s.struck, s.seeds, s.virtual.Round(time.Hour), took.Round(time.Millisecond),
		time.Since(s.began).Round(time.Millisecond), float64(s.struck)/took.Seconds())
	for _, w := range windows {
		fmt.Fprintf(&b, " %s: %d;", w, s.losses[w])
	}
	fmt.Fprintf(&b, " unexplained: %d", s.losses[0])
	return b.String()
}

// cpu is what the process has used of processors so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkFaults(b *testing.B) {
	struck := 0
	for n := 0; b.Loop(); n++ {
		ok := testing.RunTests(func(string, string) (bool, error) { return true, nil },
			[]testing.InternalTest{{Name: "seed", F: func(t *testing.T) {
				struck += play(t, draw(uint64(n), faultsPerSeed), false).struck
			}}})
		if !ok {
			b.Fatalf("seed %d fails", n)
		}
	}
	b.ReportMetric(float64(struck)/b.Elapsed().Seconds(), "faults/s")
}
