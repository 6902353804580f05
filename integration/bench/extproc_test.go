// Package bench measures what a request costs: the CPU time of one ext_proc exchange over a Unix socket, against a
// server that answers every message with an empty one, and that of the whole path with Envoy. Either can be compared
// with another commit in the same run. It also measures what accounts in Vault cost.
package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tokenward/tokenward/extproc"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// serveVariable makes the test binary a server: KIND=SOCKET.
const serveVariable = "TOKENWARD_BENCH_SERVE"

func TestMain(m *testing.M) {
	if kind, socket, ok := strings.Cut(os.Getenv(serveVariable), "="); ok {
		serve(kind, socket)
		return
	}
	os.Exit(m.Run())
}

// empty answers each message with nothing to do.
type empty struct {
	extprocv3.UnimplementedExternalProcessorServer
}

// Process implements the service.
func (empty) Process(st extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		m, err := st.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client is done
		}
		answer := &extprocv3.ProcessingResponse{
			Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{}},
		}
		if m.GetRequestHeaders() != nil {
			answer.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}
		}
		if err := st.Send(answer); err != nil {
			return err
		}
	}
}

func serve(kind, socket string) {
	if kind == "empty" {
		l, err := net.Listen("unix", socket)
		check(err)
		g := grpc.NewServer()
		extprocv3.RegisterExternalProcessorServer(g, empty{})
		check(g.Serve(l))
		return
	}
	debug.SetGCPercent(400) // as the command does
	ctx := context.Background()
	backend, driver := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
	for i := range 3 {
		_, err := backend.CompareAndSwap(ctx, tokenstore.AccountID(fmt.Sprint("a", i)), tokenstore.Record{
			Provider:     "p",
			Kind:         tokenstore.KindOAuthRefresh,
			AccessToken:  tokenstore.NewSecret(strings.Repeat("t", 272)),
			RefreshToken: tokenstore.NewSecret("rt"),
			ExpiresAt:    time.Now().Add(time.Hour),
			ObtainedAt:   time.Now(),
		}, 0)
		check(err)
	}
	reg := prometheus.NewRegistry()
	store, err := tokenstore.New(tokenstore.Config{
		Drivers: map[string]tokenstore.Driver{
			"p": driver,
		},
		Pools: map[string]tokenstore.PoolConfig{"p": {Provider: "p", Select: tokenstore.LeastLoaded}},
		Upstreams: map[string]tokenstore.UpstreamConfig{
			"u": {Pool: "p", Cluster: "u"},
		},
		Routes: map[string]tokenstore.RouteConfig{
			"messages": {Upstreams: []string{"u"}, Attempts: 4, RecoveryTimeout: time.Minute, RefreshWait: time.Second},
		},
		Renewal: tokenstore.RenewalConfig{
			Sweep:                time.Hour,
			Workers:              1,
			TokenEndpointTimeout: time.Second,
			ClaimLease:           2 * time.Second,
			BackoffMin:           time.Second,
			BackoffMax:           time.Minute,
		},
	},
		backend, tokenstore.NewMetrics(reg, "memory", true), zap.NewNop())
	check(err)
	check(store.Start(ctx))
	cfg := extproc.Config{Listen: "unix:" + socket, TrailAge: time.Minute}
	s, err := extproc.New(cfg, extproc.NewSocket(cfg, zap.NewNop()), store, reg, zap.NewNop())
	check(err)
	check(s.Start(ctx))
	select {}
}

// oldBuild names a folder with a build of another commit, to be compared with in the same run: scripts/bench-against
// makes it. In it are tokenward, and bench.test, which is this package.
const oldBuild = "TOKENWARD_BENCH_OLD"

// BenchmarkCPUPerRequest alternates the servers and reports their CPU time per request and the ratios.
func BenchmarkCPUPerRequest(b *testing.B) {
	const rounds, requests = 6, 20_000
	kinds := []string{"empty", "ours"}
	if os.Getenv(oldBuild) != "" {
		kinds = append(kinds, "old")
	}
	folder := b.TempDir()
	clients, pids := map[string]extprocv3.ExternalProcessorClient{}, map[string]int{}
	for _, kind := range kinds {
		socket := filepath.Join(folder, kind)
		program, served := os.Args[0], kind
		if kind == "old" {
			program, served = filepath.Join(os.Getenv(oldBuild), "bench.test"), "ours"
		}
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), serveVariable+"="+served+"="+socket, "GOMAXPROCS=1")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		clients[kind], pids[kind] = extprocv3.NewExternalProcessorClient(conn), cmd.Process.Pid
		send(b, clients[kind], 2000) // warm up
	}
	for b.Loop() {
		total := map[string]time.Duration{}
		for range rounds {
			for _, kind := range kinds {
				before := cpu(b, pids[kind])
				send(b, clients[kind], requests)
				total[kind] += cpu(b, pids[kind]) - before
			}
			slices.Reverse(kinds) // what the machine does beside us meets each alike
		}
		for kind, t := range total {
			b.ReportMetric(float64(t.Microseconds())/(rounds*requests), kind+"-cpu-µs/request")
		}
		b.ReportMetric(float64(total["ours"])/float64(total["empty"]), "ratio")
		if old := total["old"]; old > 0 {
			b.ReportMetric(float64(old)/float64(total["empty"]), "old-ratio")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// send makes n requests, 32 at a time, each with the two exchanges of an ordinary attempt.
func send(b *testing.B, c extprocv3.ExternalProcessorClient, n int) {
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range n / 32 {
				if err := one(c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func one(c extprocv3.ExternalProcessorClient) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := c.Process(ctx)
	if err != nil {
		return err
	}
	if err := st.Send(
		&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: headers(":method",
			"POST", ":path", "/v1/messages", "x-tokenward-id", "3f9a3f0e-7a05-4c8b-8a0e-0f2f2a1c9d11", "x-tokenward-route",
			"messages", "x-tokenward-client", "10.0.0.1", "x-envoy-attempt-count", "1", "content-type", "application/json",
			"anthropic-beta", "x")}},
	); err != nil {
		return err
	}
	if _, err := st.Recv(); err != nil {
		return err
	}
	if err := st.Send(
		&extprocv3.ProcessingRequest{
			Request: &extprocv3.ProcessingRequest_ResponseHeaders{
				ResponseHeaders: headers(":status", "200", "x-tokenward-status", "200", "content-type", "application/json",
					"content-length", "512"),
			},
		},
	); err != nil {
		return err
	}
	_, err = st.Recv()
	return err
}

func headers(pairs ...string) *extprocv3.HttpHeaders {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return &extprocv3.HttpHeaders{Headers: m}
}

// cpu is a process's user and system time, in the kernel's ticks of 10 ms.
func cpu(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
