package simulation

import (
	"regexp"
	"slices"
	"testing"
	"time"
)

// shrink looks for the shortest plan that still has the same judge complain: it leaves out faults, ever fewer at a
// time, as long as that helps, and then what else the plan can do without. It ends after so many runs.
func shrink(t *testing.T, failed result, runs int) result {
	t.Helper()
	best, of := failed, failed.complaints()
	try := func(p plan) bool {
		if runs--; runs < 0 {
			return false
		}
		if res := play(t, p, false); slices.ContainsFunc(res.complaints(), func(c string) bool {
			return slices.Contains(of, c)
		}) {
			best = res
			return true
		}
		return false
	}
	for size := max(len(best.plan.faults)/2, 1); runs > 0; {
		helped := false
		for from := 0; from < len(best.plan.faults) && runs > 0; {
			p := best.plan
			p.faults = slices.Delete(slices.Clone(p.faults), from, min(from+size, len(p.faults)))
			if try(p) {
				helped = true
			} else {
				from += size
			}
		}
		if size == 1 && !helped {
			break
		}
		size = max(size/2, 1)
	}
	for _, simpler := range []func(*plan){
		func(p *plan) { p.clients = 0 },
		func(p *plan) { p.clients = 1 },
		func(p *plan) { p.shifts = make([]time.Duration, p.services) },
	} {
		p := best.plan
		simpler(&p)
		try(p)
	}
	return best
}

// complaints are what is wrong, without whom and when it concerns.
func (r result) complaints() (all []string) {
	for _, w := range r.wrong {
		if c := particulars.ReplaceAllString(w, ""); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

var particulars = regexp.MustCompile(`"[^"]*"|\b\S*\d\S*\b`)
