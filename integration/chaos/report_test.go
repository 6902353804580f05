package chaos

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// report counts what the storm did and what came of it.
type report struct {
	seed  uint64
	began time.Time

	mu      sync.Mutex // guards what follows
	hits    map[string]int
	missed  map[string]int
	answers map[string]int
	states  map[string]int
	open    string   // what the calm waits for
	lines   []string // one per fault, in the order of their ends
	storm   time.Duration
	calm    time.Duration
}

func newReport(seed uint64) *report {
	return &report{
		seed:    seed,
		began:   time.Now(),
		hits:    map[string]int{},
		missed:  map[string]int{},
		answers: map[string]int{},
		states:  map[string]int{},
	}
}

func (r *report) note(f fault, hit bool, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what := "missed"
	if hit {
		what = "struck"
		r.hits[f.kind.name]++
	} else {
		r.missed[f.kind.name]++
	}
	r.lines = append(
		r.lines,
		fmt.Sprintf("%s %4d %s in %s: %s, replica %d, %s", began.UTC().Format("15:04:05.000"), f.number, what,
			time.Since(began).Round(time.Millisecond), f.kind.name, f.replica, f.account),
	)
}

func (r *report) struck() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.hits {
		n += c
	}
	return n
}

func (r *report) answer(status int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.answers["none"]++
		return
	}
	r.answers[fmt.Sprint(status)]++
}

func (r *report) refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answers["401"]
}

func (r *report) state(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[s]++
}

// waiting keeps what the calm waits for, whenever it changes: a long wait wants an explanation.
func (r *report) waiting(open string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if open != r.open {
		r.open = open
		r.lines = append(r.lines, time.Now().UTC().Format("15:04:05.000")+" not calm: "+open)
	}
}

func (r *report) stormed() { r.storm = time.Since(r.began) }
func (r *report) calmed()  { r.calm = time.Since(r.began) - r.storm }

// write prints the report and keeps it, with every fault and what the replicas said.
func (r *report) write(t *testing.T, w *world) {
	t.Helper()
	struck := r.struck()
	r.mu.Lock()
	defer r.mu.Unlock()
	granted, lost, excused, unexcused, _ := w.books.sums()
	var b strings.Builder
	fmt.Fprintf(&b, "fault storm: SEED=%d FAULTS=%d, %s of storm, %s until calm\n", r.seed, struck,
		r.storm.Round(time.Second), r.calm.Round(time.Second))
	fmt.Fprintf(&b,
		"refresh tokens redeemed: %d in %d sign-ins, answers that nobody may have: %d, presented again after such a loss: %d, otherwise: %d\n",
		granted, w.books.signIns, lost, excused, unexcused)
	for _, part := range []struct {
		name   string
		counts map[string]int
	}{{"accounts in the end", r.states}, {"clients' answers", r.answers}, {"faults", r.hits}, {"faults that no refresh met", r.missed}} {
		fmt.Fprintf(&b, "%s:\n", part.name)
		for _, k := range slices.Sorted(maps.Keys(part.counts)) {
			fmt.Fprintf(&b, "  %5d %s\n", part.counts[k], k)
		}
	}
	t.Log("\n" + b.String())
	folder := filepath.Join("..", "..", "run", "chaos")
	check(t, os.MkdirAll(folder, 0o700))
	file := filepath.Join(folder, fmt.Sprintf("report-%d.txt", r.seed))
	check(t, os.WriteFile(file, []byte(b.String()+"\n"+strings.Join(r.lines, "\n")+"\n"), 0o600))
	for _, x := range w.replicas {
		check(
			t,
			os.WriteFile(filepath.Join(folder, fmt.Sprintf("replica-%d-%d.log", r.seed, x.number)), []byte(x.Log.String()),
				0o600),
		)
	}
	t.Logf("the faults and the replicas' logs are in run/chaos; to do it again: make chaos SEED=%d FAULTS=%d", r.seed,
		struck)
}
