package simulation

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// outcomeOf is what a run came to.
type result struct {
	plan   plan
	struck int
	digest uint64
	wrong  []string
	losses map[window]int
	lines  []string
	took   time.Duration // virtual
}

func play(t *testing.T, p plan, loud bool) (res result) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(p, loud)
		w.run()
		res = result{plan: p, struck: w.struck, digest: w.stamp(), lines: w.lines, took: w.now()}
		res.wrong, res.losses = judged(w.ledger), losses(w.ledger)
	})
	return res
}

func TestOne(t *testing.T) {
	seed := number("SEED", 1)
	for range number("SEEDS", 1) {
		begun := time.Now()
		res := play(t, draw(seed, int(number("FAULTS", 60))), os.Getenv("LOUD") != "")
		if len(res.lines) > 0 {
			t.Log(strings.Join(res.lines, "\n"))
		}
		t.Logf("seed %d: %d faults in %s of virtual time, %s of ours, digest %x, losses %v", seed, res.struck, res.took, time.Since(begun), res.digest, res.losses)
		for _, w := range res.wrong[:min(len(res.wrong), 4)] {
			t.Errorf("seed %d: %s", seed, w)
		}
		if len(res.wrong) > 0 && os.Getenv("SHRINK") != "" {
			short := shrink(t, res, 300)
			short = play(t, short.plan, true)
			t.Logf("the shortest plan:\n%s\nits history:\n%s", short.plan, strings.Join(short.lines, "\n"))
			for _, w := range short.wrong {
				t.Errorf("seed %d, shrunk: %s", seed, w)
			}
		}
		seed++
	}
}

func number(variable string, otherwise uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv(variable), 10, 64); err == nil {
		return v
	}
	return otherwise
}
