package tokenstore_test

import (
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/tokenward/tokenward/tokenstore"
)

// TestARecordMakesNoSeriesAtWill: whoever writes records chooses their pools and their provider, not our labels.
func TestARecordMakesNoSeriesAtWill(t *testing.T) { synctest.Test(t, noSeriesAtWill) }

func noSeriesAtWill(t *testing.T) {
	w := newStore(t,
		Account("a", func(r *tokenstore.Record) { r.Pools = []string{"p", "x1", "x2", "p"} }),
		Account("b", inPool("x3")), Account("c", inPool("p\xff")),
		Account("d\xff"),
		Account("e", func(r *tokenstore.Record) { r.Provider = "nobody" }),
	)
	for _, id := range []tokenstore.AccountID{"b", "e"} {
		_, _ = w.RefreshAccount(t.Context(), id, true)
	}
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !utf8.ValidString(l.GetValue()) {
					t.Errorf("%s: label %s=%q", f.GetName(), l.GetName(), l.GetValue())
				}
				switch l.GetName() {
				case "pool":
					counts[l.GetValue()] += m.GetGauge().GetValue()
				case "provider":
					counts["provider "+l.GetValue()] = 1
				}
			}
		}
	}
	want := map[string]float64{"p": 2, "ring": 0, "spare": 0, "unknown": 4, "provider p": 1}
	for name, n := range counts {
		if _, ok := want[name]; !ok && name != "provider unknown" {
			t.Errorf("a series for %q: %v", name, n)
		}
	}
	for name, n := range want {
		if counts[name] != n {
			t.Errorf("%s: %v, want %v", name, counts[name], n)
		}
	}
}
