package selection

import (
	"slices"
	"sync"
	"testing"

	"github.com/tokenward/tokenward/tokenstore/record"
)

func limitedAccount(l record.Limits) *Seat {
	a := &Seat{}
	a.limits.Store(newLimiter(l.RPM, l.Concurrency, nil))
	return a
}

func TestAPlaceThatTheRateRefusesIsGivenBack(t *testing.T) {
	a := limitedAccount(record.Limits{RPM: 1, Concurrency: 2})
	first, second := a.reserve(minute), a.reserve(minute)
	if n := a.inflight.Load(); !first || second || n != 1 {
		t.Errorf("taken %t, %t; %d attempts under way", first, second, n)
	}
}

func TestTheLastPlaceIsGivenOnce(t *testing.T) {
	for _, most := range []int64{1, 3} {
		a := limitedAccount(record.Limits{Concurrency: int(most)})
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 200_000 {
					if !a.reserve(minute) {
						continue
					}
					if n := a.inflight.Load(); n > most {
						t.Errorf("%d attempts at once, %d allowed", n, most)
						return
					}
					a.inflight.Add(-1)
				}
			})
		}
		group.Wait()
		if n := a.inflight.Load(); n != 0 {
			t.Errorf("%d attempts under way after the last", n)
		}
	}
}

func TestTheRateIsExactUnderContention(t *testing.T) {
	a := limitedAccount(record.Limits{RPM: 50_000})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50_000 {
				a.reserve(minute)
			}
		})
	}
	group.Wait()
	if n := a.inflight.Load(); n != 50_000 {
		t.Errorf("%d attempts in a minute, want 50000", n)
	}
}

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
			l := newLimiter(c.most, 0, nil)
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
