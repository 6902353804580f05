package tokenstore

import (
	"slices"
	"testing"
)

func TestAWindowLetsThroughItsNumberInAnyMinute(t *testing.T) {
	const s = minute / 60
	start := 1000 * minute
	for name, c := range map[string]struct {
		most int
		asks []int64 // after the start
		want []bool
		wait int64 // after the last one
	}{
		"one":                                {1, []int64{0, 1, minute - 1, minute, minute + 1}, []bool{true, false, false, true, false}, minute - 1},
		"all at once":                        {3, []int64{0, 0, 0, 0, minute - 1, minute}, []bool{true, true, true, false, false, true}, 0},
		"spread":                             {2, []int64{0, 30 * s, 59 * s, 60 * s, 61 * s, 90 * s}, []bool{true, true, false, true, false, true}, 30 * s},
		"what is refused does not count":     {1, []int64{0, 50 * s, 59 * s, 60 * s}, []bool{true, false, false, true}, minute},
		"a clock set back blocks for nobody": {1, []int64{0, -10 * minute, -10*minute + s}, []bool{true, true, false}, 59 * s},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimiter(Limits{RPM: c.most}, nil)
			var got []bool
			for _, at := range c.asks {
				got = append(got, l.window.take(start+at))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("let through %v, want %v", got, c.want)
			}
			if wait := l.wait(start + c.asks[len(c.asks)-1]); wait != c.wait {
				t.Errorf("waits %d, want %d", wait, c.wait)
			}
		})
	}
}
