//go:build !race

package simulation

import (
	"fmt"
	"testing"
)

const twice = 40 // of the fixed seeds are played twice

// TestASeedReplays plays seeds twice, and they come to the same history: see the package's doc on what may differ.
func TestASeedReplays(t *testing.T) {
	differ := 0
	for seed := range uint64(twice) {
		p := draw(seed+1, faultsPerSeed)
		one, other := play(t, p, true), play(t, p, true)
		if one.digest != other.digest {
			differ++
			t.Logf("seed %d: %s", seed+1, parting(one.lines, other.lines))
		}
	}
	if differ > twice/10 {
		t.Errorf("%d of %d seeds came to two histories", differ, twice)
	}
}

// parting is where two histories part.
func parting(one, other []string) string {
	for i := range min(len(one), len(other)) {
		if one[i] != other[i] {
			return fmt.Sprintf("after\n  %s\nit is\n  %s\nand then\n  %s", one[max(i-1, 0)], one[i], other[i])
		}
	}
	return "they part in what has no line"
}
