package extproc

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc/metadata"

	"github.com/tokenward/tokenward/tokenstore"
)

// judge is a store that wants every error's body and then decides as it is told.
type judge struct {
	action  tokenstore.Action
	reports int
}

func (j *judge) Pick(context.Context, tokenstore.PickRequest) (tokenstore.Pick, error) {
	return tokenstore.Pick{Upstream: "u"}, nil
}

func (j *judge) Report(
	ctx context.Context, _ tokenstore.Pick, r tokenstore.Response, _ *tokenstore.Trail, _ tokenstore.Holder,
) (tokenstore.Decision, error) {
	j.reports++
	d := tokenstore.Decision{Action: j.action, Verdict: tokenstore.Verdict{Class: tokenstore.ClassForbidden}}
	d.Verdict.NeedBody = !r.BodyRead
	if j.action == tokenstore.Refuse {
		d.Refusal = &tokenstore.Refusal{Status: 503, Reason: tokenstore.ReasonCredentialsRefused}
	}
	if r.Peekable {
		d.Action = tokenstore.Peek
	}
	return d, ctx.Err()
}

func (j *judge) Panicked(string, any, []byte) {}

// silent is an exchange in which nothing comes after the prepared messages, until its end.
type silent struct {
	exchange
	end <-chan struct{}
}

func (s *silent) Recv() (*extprocv3.ProcessingRequest, error) {
	if len(s.in) > 0 {
		return s.exchange.Recv()
	}
	<-s.end
	return nil, io.EOF
}

// newEnvoy is the context of a stream from an Envoy that allows what the service asks for.
func newEnvoy(ctx context.Context) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs(metadataPeek, peekPartial))
}

// stalled plays an attempt whose error has a body that does not come, and returns what was sent to Envoy.
func stalled(t *testing.T, s *Server, status string, end <-chan struct{}) (out []*extprocv3.ProcessingResponse) {
	t.Helper()
	e := &silent{end: end, exchange: exchange{ctx: newEnvoy(t.Context()), in: []*extprocv3.ProcessingRequest{
		{Request: &extprocv3.ProcessingRequest_RequestHeaders{
			RequestHeaders: headers("x-tokenward-id", "1", "x-tokenward-route", "r"),
		}},
		{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: headers(":status", status)}},
	}}}
	e.sent = func(m *extprocv3.ProcessingResponse) { out = append(out, m) }
	if err := s.Process(e); err != nil {
		t.Error(err)
	}
	return out
}

func has(list []*corev3.HeaderValueOption, name string) bool {
	for _, h := range list {
		if h.GetHeader().GetKey() == name {
			return true
		}
	}
	return false
}

func TestABodyIsWaitedForOneSecondAndOnceARequest(t *testing.T) {
	for name, c := range map[string]struct {
		status           string
		action           tokenstore.Action
		immediate, retry bool
		again            bool // the request comes again, and is not held
	}{
		"pass":          {"400", tokenstore.Pass, false, false, false},
		"retry":         {"429", tokenstore.Retry, true, true, true},
		"refuse":        {"403", tokenstore.Refuse, true, false, false},
		"a 401 to pass": {"401", tokenstore.Pass, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				defer close(end)
				j := &judge{action: c.action}
				reg := prometheus.NewRegistry()
				s, err := New(Config{TrailAge: time.Minute}, &Socket{}, j, reg, zap.NewNop())
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				out := stalled(t, s, c.status, end)
				if took := time.Since(began); took != peekTimeout || j.reports != 2 {
					t.Errorf("%d reports in %s", j.reports, took)
				}
				if n := series(t, reg, "tokenward_unread_answers_total", ""); n != 1 {
					t.Errorf("%v answers unread", n)
				}
				last := out[len(out)-1].GetImmediateResponse()
				if (last != nil) != c.immediate || has(last.GetHeaders().GetSetHeaders(), headerRetry) != c.retry {
					t.Errorf("the last message is %v", out[len(out)-1])
				}
				began = time.Now()
				stalled(t, s, c.status, end)
				if took := time.Since(began); (took == 0) != c.again {
					t.Errorf("the request's next attempt was held for %s", took)
				}
			})
		})
	}
}

func TestAnAnswerThatBreaksOffIsEvidenceAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{action: tokenstore.Retry}
		reg := prometheus.NewRegistry()
		s, err := New(Config{TrailAge: time.Minute}, &Socket{}, j, reg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan struct{})
		time.AfterFunc(time.Second/2, func() { close(end) })
		stalled(t, s, "401", end)
		if n := series(t, reg, "tokenward_unread_answers_total", ""); n != 1 || j.reports != 2 {
			t.Errorf("%v answers unread, %d reports", n, j.reports)
		}
	})
}

func TestAnEnvoyIsAskedForWhatItAllows(t *testing.T) {
	for length, want := range map[string]map[bool]filterv3.ProcessingMode_BodySendMode{
		"":       {true: filterv3.ProcessingMode_BUFFERED_PARTIAL, false: filterv3.ProcessingMode_NONE},
		"40":     {true: filterv3.ProcessingMode_BUFFERED, false: filterv3.ProcessingMode_BUFFERED},
		"65536":  {true: filterv3.ProcessingMode_BUFFERED, false: filterv3.ProcessingMode_BUFFERED},
		"65537":  {},
		"0":      {},
		"-3":     {},
		"10, 10": {},
	} {
		for _, partial := range []bool{true, false} {
			ctx := t.Context()
			if partial {
				ctx = newEnvoy(ctx)
			}
			h := headers(":status", "400", "content-length", length)
			if length == "" {
				h = headers(":status", "400")
			}
			r := readResponse(ctx, h, nil, false)
			if r.mode != want[partial] || r.Peekable != (want[partial] != filterv3.ProcessingMode_NONE) {
				t.Errorf("length %q, partial %v: asks for %s, peekable %v", length, partial, r.mode, r.Peekable)
			}
		}
	}
}
