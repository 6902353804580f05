package integration

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// Envoy has crashed in a partial peek once, in a design that is no longer used (envoy-verified, appendix C4).
func TestPeeksOfAllShapesAtOnceLeaveEnvoyAlive(t *testing.T) {
	const storm = 5 * time.Second
	var wild []provider.Shape
	for _, chunked := range []bool{true, false} {
		for _, shape := range []provider.Shape{
			{},
			{Pad: 60 << 10},
			{Pad: 300 << 10},
			{Pad: 3 << 20},
			{Stall: 10},
			{Cut: 10},
			{Pad: 300 << 10, Cut: 100 << 10},
			{Trailer: chunked, Codings: []string{"gzip"}},
		} {
			shape.Chunked = chunked
			wild = append(wild, shape)
		}
	}
	wild = append(wild, provider.Shape{Chunked: true, Pad: 1000, Endless: true})
	bothWays(t, "", one, func(t *testing.T, g *Gateway) {
		ctx, cancel := context.WithTimeout(t.Context(), storm)
		defer cancel()
		var mu sync.Mutex
		answers := map[int]int{}
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				for ctx.Err() == nil {
					shape, status := wild[rand.IntN(len(wild))], []int{400, 403}[rand.IntN(2)]
					g.Provider.Script("claude-1", provider.Script{Status: status, Body: disabled[:90], Shape: shape})
					code := g.impatient(ctx)
					mu.Lock()
					answers[code]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		t.Log(answers)
		if answers[400]+answers[403] < 20 || g.after(t) != 200 {
			t.Errorf("answers: %v", answers)
		}
	})
}

// impatient sends a request and leaves after a random while.
func (g *Gateway) impatient(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(1500))*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/v1/messages", http.NoBody)
	if err != nil {
		return 0
	}
	a, _ := Do(http.DefaultClient, req)
	return a.Status
}

// after is how the gateway answers when the provider is well again.
func (g *Gateway) after(t *testing.T) int {
	g.Provider.Script("claude-1", provider.Script{})
	return g.post(t, "").Status
}
