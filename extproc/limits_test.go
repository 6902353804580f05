package extproc

import (
	"context"
	"io"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// exchange is a stream with prepared messages.
type exchange struct {
	grpc.ServerStream
	ctx  context.Context
	in   []*extprocv3.ProcessingRequest
	sent func(*extprocv3.ProcessingResponse)
}

func (e *exchange) Context() context.Context { return e.ctx }

func (e *exchange) Send(m *extprocv3.ProcessingResponse) error {
	e.sent(m)
	return nil
}

func (e *exchange) Recv() (*extprocv3.ProcessingRequest, error) {
	if len(e.in) == 0 {
		return nil, io.EOF
	}
	m := e.in[0]
	e.in = e.in[1:]
	return m, nil
}

func headers(pairs ...string) *extprocv3.HttpHeaders {
	m := &corev3.HeaderMap{}
	for i := 0; i < len(pairs); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return &extprocv3.HttpHeaders{Headers: m}
}

// limitedStore has one account that may serve one attempt at once.
func limitedStore(t *testing.T) *tokenstore.Store {
	t.Helper()
	m := tokenstoretest.NewMemory()
	_, err := m.CompareAndSwap(t.Context(), "a", tokenstore.Record{
		Provider:     "p",
		Kind:         tokenstore.KindOAuthRefresh,
		RefreshToken: tokenstore.NewSecret("rt"),
		AccessToken:  tokenstore.NewSecret("at"),
		ObtainedAt:   time.Now(),
		ExpiresAt:    time.Now().Add(time.Hour),
		Limits:       tokenstore.Limits{Concurrency: 1},
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tokenstore.New(tokenstore.Config{
		Routes: map[string]tokenstore.RouteConfig{
			"r": {Upstreams: []string{"u"}, Attempts: 2, RecoveryTimeout: time.Minute, RefreshWait: time.Minute},
		},
		Upstreams: map[string]tokenstore.UpstreamConfig{"u": {Pool: "p", Cluster: "c"}},
		Pools:     map[string]tokenstore.PoolConfig{"p": {Provider: "p", Select: tokenstore.LeastLoaded}},
		Drivers:   map[string]tokenstore.Driver{"p": tokenstoretest.NewDriver()},
		Renewal: tokenstore.RenewalConfig{
			TokenEndpointTimeout: 10 * time.Second,
			ClaimLease:           45 * time.Second,
			BackoffMin:           time.Second,
			BackoffMax:           time.Minute,
		},
	}, m, tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestAnAttemptsPlaceIsFreeBeforeEnvoyHearsTheDecision(t *testing.T) {
	for status, action := range map[string]string{"200": "passed", "401": "retried with a new token"} {
		t.Run(status, func(t *testing.T) {
			tokens := limitedStore(t)
			s, err := New(Config{TrailAge: time.Minute}, &Socket{}, tokens, prometheus.NewRegistry(), zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			free := func() bool {
				p, err := tokens.Pick(t.Context(), tokenstore.PickRequest{Route: "r"})
				p.Release()
				return err == nil
			}
			decided := 0
			e := &exchange{ctx: t.Context(), in: []*extprocv3.ProcessingRequest{
				{
					Request: &extprocv3.ProcessingRequest_RequestHeaders{
						RequestHeaders: headers("x-tokenward-id", "1", "x-tokenward-route", "r"),
					},
				},
				{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: headers(":status", status)}},
			}}
			e.sent = func(m *extprocv3.ProcessingResponse) {
				switch {
				case m.GetRequestHeaders() != nil && free():
					t.Error("the attempt takes no place")
				case m.GetResponseHeaders() != nil:
					if decided++; !free() {
						t.Errorf("an answer that is %s holds its place", action)
					}
				}
			}
			if err := s.Process(e); err != nil || decided != 1 {
				t.Fatalf("%d decisions, %v", decided, err)
			}
		})
	}
}
