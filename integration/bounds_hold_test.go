package integration

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestGoodRequestsGoOnBesideHalfOnesAndStalledUploads is the attack of a botnet, or of a broken client library.
func TestGoodRequestsGoOnBesideHalfOnesAndStalledUploads(t *testing.T) {
	manyFiles(t, 8000)
	g := startWith(t, func(o *Options) { o.First = sink(t) }, one)
	heads := half(t, g.Opts.Gateway, "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-ha", 3000)

	// A hundred uploads of 31 MiB: 3 GiB if they were all kept.
	const size = 31 << 20
	ctx, release := context.WithCancel(t.Context())
	defer release()
	var uploads sync.WaitGroup
	var refusals, held, cut atomic.Int32
	upload := func(f func() (Answer, error)) {
		uploads.Go(func() {
			switch a, err := f(); {
			case ctx.Err() != nil:
				held.Add(1)
			case err != nil: // it was let in, and then one of the largest
				cut.Add(1)
			default:
				refused(t, a, 503, "service_unavailable", "api_error")
				expect(t, "Retry-After", a.Header.Get("Retry-After"), "2")
				refusals.Add(1)
			}
		})
	}
	for range 50 {
		upload(func() (Answer, error) { return g.stall(ctx, size, true, func() {}) })
	}
	for range 25 {
		upload(func() (Answer, error) { return g.stall(ctx, size, false, func() {}) })
	}
	h2 := client(t, true)
	for range 25 {
		upload(func() (Answer, error) {
			body := &stalled{left: size - 1, end: ctx}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/v1/messages", body)
			if err != nil {
				return Answer{}, err
			}
			return Do(h2, req)
		})
	}

	attack, end := context.WithTimeout(t.Context(), 15*time.Second)
	defer end()
	all, failed := g.steadily(attack, t, 50)
	most := g.memory(t)
	expect(t, "half requests that were ended", heads.ended.Load(), 3000)
	release()
	uploads.Wait()
	t.Logf("%d good requests, %d failed; Envoy had %d MiB; uploads: %d refused, %d held, %d cut",
		all, failed, most, refusals.Load(), held.Load(), cut.Load())
	if all < 500 {
		t.Errorf("only %d good requests were tried", all)
	}
	if most > 1280 {
		t.Errorf("Envoy had %d MiB with envoy.max_heap: 1GiB", most)
	}
	if refusals.Load() < 50-16 {
		t.Errorf("%d of 50 uploads of known length were refused, and 16 may be kept", refusals.Load())
	}
	g.post(t, "") // the same Envoy: a death would have cost good requests
}

func TestAnUploadThatFindsRoomAgainIsTaken(t *testing.T) {
	g := startWith(t, func(o *Options) { o.EnvoyKeys = ", max_heap: 128MiB"; o.First = sink(t); o.Limit = "32MiB" }, one)
	ctx, release := context.WithCancel(t.Context())
	defer release()
	var uploads sync.WaitGroup
	sent := make(chan struct{}, 2)
	for range 2 { // half of the heap has room for two
		uploads.Go(func() { _, _ = g.stall(ctx, 9<<20, true, func() { sent <- struct{}{} }) })
	}
	for range 2 {
		<-sent
	}
	third := func(size int) Answer {
		a, _ := g.upload(t, client(t, false), t.Name(), "", newBody(size))
		return a
	}
	refused(t, third(9<<20), 503, "service_unavailable", "api_error")
	expect(t, "status of a smaller one", third(7<<20).Status, 200)
	release()
	uploads.Wait()
	eventually(t, 5*time.Second, "a third is taken", func() bool { return third(9<<20).Status == 200 })
}
