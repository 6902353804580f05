package tlsfiletest

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/tlsfile"
)

// Issue makes contents that are in force from the one time to the other, and names them.
type Issue func(from, to time.Time) (c Contents, name string)

// Start begins something over the files of a folder. inUse says by its name which contents it uses.
type Start func(t *testing.T, dir string, files *tlsfile.Files) (inUse func() string)

// Run makes every change under something that uses files, and checks what it uses then, what is told, and that it takes
// good files again after that. Changes for which without says so are left out.
func Run(t *testing.T, next Issue, start Start, without ...func(Change) bool) {
	t.Helper()
	for _, c := range Changes() {
		if slices.ContainsFunc(without, func(skip func(Change) bool) bool { return skip(c) }) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { c.run(t, next, start) })
	}
}

func (c Change) run(t *testing.T, next Issue, start Start) {
	now := time.Now()
	good := func() (Contents, string) { return next(now.Add(-time.Hour), now.Add(time.Hour)) }
	core, logs := observer.New(zap.InfoLevel)
	files, reg := tlsfile.New(zap.New(core)), prometheus.NewRegistry()
	reg.MustRegister(files)
	was, name := good()
	dir := c.Begin(t, was)
	inUse := start(t, dir, files)
	check := func(when, want string, told map[string]int, rejected float64) {
		t.Helper()
		if got := inUse(); got != want {
			t.Errorf("%s: %q is in use, want %q", when, got, want)
		}
		for event, n := range told {
			if got := logs.FilterField(zap.String("event", event)).Len(); got != n {
				t.Errorf("%s: %s is told %d times, want %d: %v", when, event, got, n, logs.All())
			}
		}
		if got := Gauge(t, reg, "tokenward_tls_files_rejected"); got != rejected {
			t.Errorf("%s: %v files are rejected, want %v", when, got, rejected)
		}
	}
	files.Look()
	check("at first", name, map[string]int{"tls_files_changed": 0, "tls_files_rejected": 0}, 0)
	comes, newer := good()
	if c.Timed() {
		comes, newer = next(now.Add(c.From), now.Add(c.To))
	}
	c.Do(t, dir, comes)
	files.Look()
	files.Look()
	if c.Taken {
		check("after the change", newer, map[string]int{"tls_files_changed": 1, "tls_files_rejected": 0}, 0)
	} else {
		check("after the change", name, map[string]int{"tls_files_changed": 0, "tls_files_rejected": 1}, 1)
	}
	comes, newer = good()
	c.Mend(t, dir, comes)
	files.Look()
	files.Look()
	changes := 1
	if c.Taken {
		changes = 2
	}
	check("after all is well again", newer, map[string]int{"tls_files_changed": changes}, 0)
}

// Gauge is the sum of a metric over its labels.
func Gauge(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
