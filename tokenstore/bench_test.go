package tokenstore_test

import (
	"fmt"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func benchmark(b *testing.B, run func(b *testing.B, w *world)) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("accounts=%d", n), func(b *testing.B) {
			accounts := make([]given, n)
			for i := range accounts {
				accounts[i] = Account(fmt.Sprintf("a%d", i))
			}
			w := newStore(b, accounts...)
			b.ReportAllocs()
			run(b, w)
		})
	}
}

func BenchmarkPick(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		for b.Loop() {
			p, err := w.Pick(b.Context(), tokenstore.PickRequest{Route: "r"})
			if err != nil {
				b.Fatal(err)
			}
			p.Release()
		}
	})
}

func BenchmarkReport(b *testing.B) {
	benchmark(b, func(b *testing.B, w *world) {
		p := w.pick("r", nil)
		resp := answer(200)
		for b.Loop() {
			if d, err := w.Report(b.Context(), p, resp, nil, nil); err != nil || d.Action != tokenstore.Pass {
				b.Fatal(d, err)
			}
		}
	})
}
