package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSlowCallersOfTheAdminPortTakeNothingFromClients: neither file descriptors, nor from probes and operators their
// answers.
func TestSlowCallersOfTheAdminPortTakeNothingFromClients(t *testing.T) {
	manyFiles(t, 4000)
	const files = 600 // of the service, and fewer than callers
	g := startWith(t, func(o *Options) { o.Files = files }, one)
	if !strings.Contains(g.Log.String(), "this process may open only 600 files: at most 172 connections") {
		t.Error("run says nothing of the limit of files, which is too low for Envoy's bound")
	}
	h := half(t, g.Opts.Admin, "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", 1700)
	eventually(t, 5*time.Second, "all but 256 are closed", func() bool { return h.ended.Load() >= 1700-256 })
	for range 20 {
		served(t, g.post(t, ""), "")
		resp, err := http.Get(g.AdminURL + "/readyz")
		if err != nil {
			t.Fatalf("a probe: %v", err)
		}
		_ = resp.Body.Close()
		expect(t, "readiness", resp.StatusCode, 200)
		http.DefaultClient.CloseIdleConnections()
	}
	g.cli(t, "status")
	eventually(t, 15*time.Second, "the others have been ended", func() bool { return h.ended.Load() == 1700 })
}
