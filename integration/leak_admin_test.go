package integration

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// atAdmin sends a request to Envoy's admin address, as it is.
func (g *Gateway) atAdmin(t *testing.T, method, target string) (status int, body string) {
	t.Helper()
	c, err := net.Dial("tcp", g.Opts.EnvoyAdmin)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, method+" "+target+" HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n"+
		"Connection: close\r\ncontent-length: 0\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// dangerous are what Envoy's /help lists, and some ways around an exact name.
var dangerous = []string{
	"/", "/help", "/certs", "/clusters", "/config_dump", "/contention", "/cpuprofiler?enable=y", "/heapprofiler",
	"/drain_listeners", "/drain_listeners?graceful", "/healthcheck/fail", "/healthcheck/ok", "/heap_dump",
	"/allocprofiler", "/hot_restart_version", "/init_dump", "/listeners", "/logging?level=debug", "/logging?http=trace",
	"/memory", "/peak_heap_dump", "/quitquitquit", "/reopen_logs", "/reset_counters", "/runtime", "/runtime_modify?a=b",
	"/server_info", "/stats/recentlookups", "/stats/recentlookups/enable", "/tap", "/stats/../logging?level=debug",
	"/ready/../quitquitquit", "/ready/%2e%2e/quitquitquit", "/ready%2f..%2fquitquitquit", "//quitquitquit",
	"/ready/quitquitquit", "/quitquitquit?/ready", "/quitquitquit#/ready", "/readyquitquitquit",
	"/logging;/stats?level=debug", "/ready%00", "http://localhost/quitquitquit",
}

func TestNobodyRunsEnvoyThroughItsAdminPort(t *testing.T) {
	for name, apart := range map[string]bool{"run": false, "serve, with an Envoy of its own": true} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, func(o *Options) { o.Serve = apart }, one)
			for _, target := range dangerous {
				for _, method := range []string{http.MethodPost, http.MethodGet} {
					if status, body := g.atAdmin(t, method, target); status < 400 {
						t.Errorf("%s %s: %d %.200s", method, target, status, body)
					}
				}
			}
			for target, holds := range map[string]string{
				"/ready": "LIVE", "/stats": "server.live: 1", "/stats?filter=server.live": "server.live: 1",
				"/stats/prometheus": "envoy_server_live{} 1", "/stats?format=prometheus": "envoy_server_live{} 1",
			} {
				if status, body := g.atAdmin(t, http.MethodGet, target); status != 200 || !strings.Contains(body, holds) {
					t.Errorf("%s: %d %.200s", target, status, body)
				}
			}
			served(t, g.post(t, ""), "")
			for _, word := range []string{"Bearer", "[debug]", "[trace]"} {
				if strings.Contains(g.Log.String(), word) {
					t.Errorf("%s is in the log", word)
				}
			}
		})
	}
}

// TestAtEnvoysDebugLevelNoTokenReachesTheLog: whoever runs the gateway may set the level, on the socket.
func TestAtEnvoysDebugLevelNoTokenReachesTheLog(t *testing.T) {
	g := startWith(t, nil, one)
	path := filepath.Join(g.Opts.Folder, "run", "adm.sock")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "mode of the socket", info.Mode().Perm(), 0o600)
	over := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	for _, level := range []string{"debug", "trace"} {
		resp, err := over.Post("http://envoy/logging?level="+level, "", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		expect(t, "status", resp.StatusCode, 200)
		served(t, g.post(t, ""), "")
	}
	for _, word := range []string{"Bearer", "authorization", "[debug]", "[trace]", "':authority'", "the-clients-own"} {
		if strings.Contains(g.Log.String(), word) {
			t.Errorf("%s is in the log", word)
		}
	}
}
