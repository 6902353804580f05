package integration

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A request that no provider has seen may be sent again, and clients do so after a refused connection. One that was cut
// has to be reported to people.
func TestARestartOfRunRefusesConnectionsAndCutsNoRequest(t *testing.T) {
	g := start(t, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for range 4 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				resp, err := client.Post(g.URL+"/v1/messages", "application/json", strings.NewReader("{}"))
				what := "refused"
				switch {
				case err == nil:
					what = resp.Status
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if err != nil {
						what = "cut in its answer"
					}
				case errors.Is(err, io.EOF):
					what = "cut"
				case !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET): // reset: never accepted
					what = err.Error()
				}
				mu.Lock()
				got[what]++
				mu.Unlock()
			}
		})
	}
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		_ = g.Service().Process.Signal(terminate)
		if err := g.Service().Wait(); err != nil {
			t.Error(err)
		}
		if err := g.Start(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	wg.Wait()
	delete(got, "refused")
	if got["200 OK"] < 20 || len(got) != 1 {
		t.Errorf("answers: %v", got)
	}
}
