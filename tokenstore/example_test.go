package tokenstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// An attempt is picked, refused by the provider, healed while its answer is held, and picked again.
func Example() {
	ctx := context.Background()
	store, stop := exampleStore(ctx)
	defer stop()

	pick, err := store.Pick(ctx, tokenstore.PickRequest{Route: "messages"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("attempt 1:", pick.Account, "to", pick.Cluster, "with", pick.Headers[0].Value)

	refused := tokenstore.Response{Status: 401, Header: tokenstoretest.Header{}}
	decision, err := store.Report(ctx, pick, refused, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	pick.Release()
	fmt.Println("the answer:", decision.Verdict.Class, "- so:", decision.Action)

	pick, err = store.Pick(ctx, tokenstore.PickRequest{Route: "messages", Trail: decision.Trail})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pick.Release()
	fmt.Println("attempt 2:", pick.Account, "to", pick.Cluster, "with", pick.Headers[0].Value)

	// Output:
	// attempt 1: claude-1 to anthropic with Bearer at-0
	// the answer: token_rejected - so: retry
	// attempt 2: claude-1 to anthropic with Bearer at-1
}

// exampleStore has one account, in memory.
func exampleStore(ctx context.Context) (store *tokenstore.Store, stop func()) {
	backend := tokenstoretest.NewMemory()
	_, err := backend.CompareAndSwap(ctx, "claude-1", tokenstore.Record{
		Provider: "anthropic", Kind: tokenstore.KindOAuthRefresh,
		RefreshToken: tokenstore.NewSecret("rt-0"), AccessToken: tokenstore.NewSecret("at-0"),
		ObtainedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}, 0)
	if err != nil {
		panic(err)
	}
	store, err = tokenstore.New(tokenstore.Config{
		Routes: map[string]tokenstore.RouteConfig{"messages": {
			Upstreams: []string{"anthropic"}, Attempts: 3, RecoveryTimeout: time.Minute, RefreshWait: 10 * time.Second,
		}},
		Upstreams: map[string]tokenstore.UpstreamConfig{"anthropic": {Pool: "anthropic", Cluster: "anthropic"}},
		Pools: map[string]tokenstore.PoolConfig{
			"anthropic": {Provider: "anthropic", Select: tokenstore.LeastLoaded},
		},
		Drivers: map[string]tokenstore.Driver{"anthropic": tokenstoretest.NewDriver()},
		Renewal: tokenstore.RenewalConfig{
			TokenEndpointTimeout: 10 * time.Second, ClaimLease: 45 * time.Second,
			BackoffMin: time.Second, BackoffMax: time.Minute,
		},
	}, backend, tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true), zap.NewNop())
	if err == nil {
		err = store.Start(ctx)
	}
	if err != nil {
		panic(err)
	}
	return store, func() { _ = store.Stop(ctx) }
}
