package sqlite_test
import ("testing";"time";"sync";"slices";"fmt";"github.com/tokenward/tokenward/tokenstore")
func TestProbeLatency(t *testing.T) {
	for _, n := range []int{16,64,128} {
	b := open(t, configIn(t.TempDir()))
	var mu sync.Mutex; var lat []time.Duration; errs := map[string]int{}
	var g sync.WaitGroup
	s := time.Now()
	for i := range n { g.Go(func(){
		id := tokenstore.AccountID(fmt.Sprintf("a%d",i)); var v tokenstore.Version
		for range 640/n { st := time.Now()
			nv, err := b.CompareAndSwap(t.Context(), id, sample("rt"), v); d := time.Since(st)
			mu.Lock(); lat = append(lat,d); if err != nil { errs[err.Error()]++ } ; mu.Unlock()
			if err == nil { v = nv } } }) }
	g.Wait(); w := time.Since(s); slices.Sort(lat)
	t.Logf("PROBE n=%d wall=%v p50=%v p99=%v max=%v errs=%v", n, w, lat[len(lat)/2], lat[len(lat)*99/100], lat[len(lat)-1], errs)
	}
}
