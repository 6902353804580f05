package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/journal"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
	"github.com/tokenward/tokenward/tokenstore/vault"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// fleet is a development Vault, in memory and on loopback, with accounts in it.
type fleet struct {
	*vaultserver.Server
	b     *testing.B
	token string // file with the token
}

const (
	prefix  = "bench"
	large   = 10_000
	history = 10 // versions of each account, as many as KV keeps unless told: the answers that a poll reads grow with them
)

func newFleet(b *testing.B, accounts, versions int) *fleet {
	b.Helper()
	server, err := vaultserver.StartDev()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	f := &fleet{server, b, filepath.Join(b.TempDir(), "token")}
	must(b, os.WriteFile(f.token, []byte(server.Token), 0o600))
	backend := f.open(server.Address, time.Hour)
	defer func() { _ = backend.Close() }()
	var g errgroup.Group
	g.SetLimit(16)
	for i := range accounts {
		g.Go(func() error {
			r := tokenstore.Record{
				Provider:     "p",
				Kind:         tokenstore.KindOAuthRefresh,
				ClientID:     "client",
				RefreshToken: tokenstore.NewSecret(fmt.Sprintf("%0100d", i)),
				AccessToken:  tokenstore.NewSecret(strings.Repeat("t", 272)),
				ObtainedAt:   time.Now(),
				ExpiresAt:    time.Now().Add(8 * time.Hour),
			}
			for v := range tokenstore.Version(versions) {
				if _, err := backend.CompareAndSwap(b.Context(), name(i), r, v); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(b, g.Wait())
	return f
}

func name(i int) tokenstore.AccountID { return tokenstore.AccountID(fmt.Sprintf("account-%05d", i)) }

func (f *fleet) open(address string, poll time.Duration) *vault.Backend {
	f.b.Helper()
	backend, err := vault.Open(context.Background(), vault.Config{Config: access.Config{
		Address: address, Mount: "secret", Prefix: prefix, Poll: poll, Auth: access.Auth{TokenFile: f.token},
	}}, zap.NewNop())
	must(f.b, err)
	return backend
}

// start starts a store as the service does and returns it with what stops it.
func (f *fleet) start(backend tokenstore.Backend, driver tokenstore.Driver) (*tokenstore.Store, func()) {
	f.b.Helper()
	j, err := journal.Open(filepath.Join(f.b.TempDir(), "journal"))
	must(f.b, err)
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
			Sweep:                30 * time.Minute,
			Workers:              16,
			TokenEndpointTimeout: 10 * time.Second,
			ClaimLease:           45 * time.Second,
			BackoffMin:           time.Second,
			BackoffMax:           time.Minute,
		},
		Journal: j,
	}, backend, tokenstore.NewMetrics(prometheus.NewRegistry(), "vault", true), zap.NewNop())
	must(f.b, err)
	must(f.b, store.Start(f.b.Context()))
	must(f.b, store.Renewer().Start(f.b.Context()))
	return store, func() {
		must(f.b, store.Renewer().Stop(f.b.Context()))
		must(f.b, store.Stop(f.b.Context()))
	}
}

// timed is a provider whose share of a refresh is known.
type timed struct {
	*tokenstoretest.Driver
	spent atomic.Int64 // nanoseconds
}

func (d *timed) Refresh(ctx context.Context, r tokenstore.Record) (tokenstore.Grant, error) {
	defer func(began time.Time) { d.spent.Add(int64(time.Since(began))) }(time.Now())
	return d.Driver.Refresh(ctx, r)
}

// saving tells when a refresh is saved: the write that takes the claim away.
type saving struct {
	tokenstore.Backend
	saved chan struct{}
}

func (s saving) CompareAndSwap(
	ctx context.Context, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version,
) (tokenstore.Version, error) {
	v, err := s.Backend.CompareAndSwap(ctx, id, r, expect)
	if r.Rotation.Claim == nil {
		s.saved <- struct{}{}
	}
	return v, err
}

// counted is Vault behind a proxy that counts requests.
func (f *fleet) counted() (address string, calls *atomic.Int64) {
	target, err := url.Parse(f.Address)
	must(f.b, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	calls = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	f.b.Cleanup(server.Close)
	return server.URL, calls
}

// BenchmarkVaultRefresh reports what one refresh asks of Vault, and how long it takes without the provider: until the
// token can be used, and until it is saved.
func BenchmarkVaultRefresh(b *testing.B) {
	const refreshes = 200
	f := newFleet(b, refreshes, 5) // a record of fewer versions is looked at once more before it is saved
	address, calls := f.counted()
	run := func(address string, measured func(used, saved time.Duration)) {
		driver := &timed{Driver: tokenstoretest.NewDriver()}
		backend := saving{f.open(address, time.Hour), make(chan struct{}, 1)}
		defer func() { _ = backend.Close() }()
		store, stop := f.start(backend, driver)
		defer stop()
		for before := int64(-1); before != calls.Load(); { // the first looks for changes have ended
			before = calls.Load()
			<-time.After(2 * time.Second)
		}
		before := calls.Load()
		var used, saved time.Duration
		for i := range refreshes {
			began := time.Now()
			res, err := store.RefreshAccount(b.Context(), name(i), true)
			used += time.Since(began)
			if err != nil || res.Outcome != tokenstore.Refreshed {
				b.Fatal(res, err)
			}
			<-backend.saved
			saved += time.Since(began)
		}
		share := time.Duration(driver.spent.Load())
		measured((used-share)/refreshes, (saved-share)/refreshes)
		if n := calls.Load() - before; n > 0 {
			b.ReportMetric(float64(n)/refreshes, "vault-calls/refresh")
		}
	}
	for b.Loop() {
		run(address, func(time.Duration, time.Duration) {})
		run(f.Address, func(used, saved time.Duration) {
			b.ReportMetric(float64(used.Microseconds())/1000, "ms-to-use/refresh")
			b.ReportMetric(float64(saved.Microseconds())/1000, "ms-to-save/refresh")
		})
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkVaultLarge reports with 10,000 accounts: the time from opening Vault to being ready, and then the CPU that
// looking for changes costs at the default interval, ours and Vault's, as a part of one CPU.
func BenchmarkVaultLarge(b *testing.B) {
	const polls = 4
	const interval = 15 * time.Second
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the command does
	f := newFleet(b, large, history)
	for b.Loop() {
		began := time.Now()
		backend := f.open(f.Address, 0)
		store, stop := f.start(backend, tokenstoretest.NewDriver())
		b.ReportMetric(time.Since(began).Seconds(), "s-to-start/10k")
		if n := len(store.Statuses()); n != large {
			b.Fatalf("%d accounts are loaded", n)
		}
		<-time.After(interval) // start-up has ended
		ours, theirs := self(b), cpu(b, f.PID())
		<-time.After(polls * interval)
		percent := func(d time.Duration) float64 { return 100 * d.Seconds() / (polls * interval).Seconds() }
		b.ReportMetric(percent(self(b)-ours), "%CPU-idle/10k")
		b.ReportMetric(percent(cpu(b, f.PID())-theirs), "%CPU-idle-of-vault/10k")
		stop()
		must(b, backend.Close())
	}
	b.ReportMetric(0, "ns/op")
}

// self is this process's user and system time.
func self(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
