package extproc

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/tokenward/tokenward/tokenstore"
)

// failing is a store that panics where it is told to.
type failing struct {
	judge
	panics atomic.Int32
}

func (f *failing) Pick(ctx context.Context, q tokenstore.PickRequest) (tokenstore.Pick, error) {
	if q.Route == "boom" {
		panic("at a pick")
	}
	return f.judge.Pick(ctx, q)
}

func (f *failing) Panicked(string, any, []byte) { f.panics.Add(1) }

func message(pairs ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: headers(pairs...)},
	}
}

func answer(pairs ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: headers(pairs...)},
	}
}

func TestAPanicEndsItsStreamAloneAndIsCounted(t *testing.T) {
	cfg := Config{Listen: "unix:" + filepath.Join(short(t), "s"), TrailAge: time.Minute}
	tokens := &failing{judge: judge{action: tokenstore.Pass}}
	s, err := New(cfg, NewSocket(cfg, zap.NewNop()), tokens, prometheus.NewRegistry(), zap.NewNop())
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	conn, err := grpc.NewClient(cfg.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	open := func(route string) extprocv3.ExternalProcessor_ProcessClient {
		st, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context())
		if err == nil {
			err = st.Send(message("x-tokenward-route", route))
		}
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	good := open("r")
	if _, err := good.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := open("boom").Recv(); status.Code(err) != codes.Internal {
		t.Errorf("the stream ended with %v", err)
	}
	if err := good.Send(answer(":status", "200")); err != nil {
		t.Fatal(err)
	}
	if _, err := good.Recv(); err != nil {
		t.Errorf("another stream: %v", err)
	}
	if n := tokens.panics.Load(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

func TestWhatIsOutOfOrderIsRefusedAndHoldsNoPlace(t *testing.T) {
	body := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{}}
	request := message("x-tokenward-id", "1", "x-tokenward-route", "r")
	response := answer(":status", "401", "content-length", "9")
	for name, in := range map[string][]*extprocv3.ProcessingRequest{
		"a body first":                 {body},
		"response headers first":       {response},
		"request headers twice":        {request, request},
		"a body before the headers":    {request, body},
		"headers where a body is due":  {request, response, response},
		"a request where a body's due": {request, response, request},
		"nothing in a message":         {request, {}},
		"trailers":                     {request, {Request: &extprocv3.ProcessingRequest_ResponseTrailers{}}},
		"a request's body":             {{Request: &extprocv3.ProcessingRequest_RequestBody{}}},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := limitedStore(t)
			s, err := New(Config{TrailAge: time.Minute}, &Socket{}, peeking{tokens}, prometheus.NewRegistry(), zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			e := &exchange{ctx: t.Context(), in: in, sent: func(*extprocv3.ProcessingResponse) {}}
			if err := s.Process(e); status.Code(err) != codes.InvalidArgument {
				t.Errorf("ended with %v", err)
			}
			p, err := tokens.Pick(t.Context(), tokenstore.PickRequest{Route: "r"})
			if err != nil {
				t.Errorf("the account's place is not free: %v", err)
			}
			p.Release()
		})
	}
}

// peeking is a store that wants every answer's body.
type peeking struct{ *tokenstore.Store }

func (peeking) Report(
	context.Context, tokenstore.Pick, tokenstore.Response, *tokenstore.Trail, tokenstore.Holder,
) (tokenstore.Decision, error) {
	return tokenstore.Decision{Action: tokenstore.Peek}, nil
}
