package extproc

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/provider"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// offline is a provider's real driver, but for its token endpoint.
type offline struct {
	tokenstore.Driver
	grants *tokenstoretest.Driver
}

func (o offline) Refresh(ctx context.Context, r tokenstore.Record) (tokenstore.Grant, error) {
	return o.grants.Refresh(ctx, r)
}

// realStore has two accounts of a real driver, one token of which has ended, behind two upstreams. stop ends it.
func realStore(t *testing.T, driver string) (s *tokenstore.Store, stop func()) {
	t.Helper()
	d, err := provider.New("p", provider.Settings{Driver: driver, TokenURL: "http://127.0.0.1:1/token"})
	if err != nil {
		t.Fatal(err)
	}
	m := tokenstoretest.NewMemory()
	for id, life := range map[tokenstore.AccountID]time.Duration{"a": time.Hour, "b": -time.Hour} {
		r := tokenstore.Record{
			Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret("rt-" + string(id)),
			AccessToken: tokenstore.NewSecret("at-" + string(id)), ObtainedAt: time.Now().Add(-2 * time.Hour),
			ExpiresAt: time.Now().Add(life), Pools: []string{"p"}, Limits: tokenstore.Limits{Concurrency: 2},
		}
		if driver == "anthropic" {
			r.Kind, r.ClientID = tokenstore.KindAnthropicOAuth, "client"
		}
		if _, err := m.CompareAndSwap(t.Context(), id, r, 0); err != nil {
			t.Fatal(err)
		}
	}
	s, err = tokenstore.New(tokenstore.Config{
		Routes: map[string]tokenstore.RouteConfig{"r": {
			Upstreams: []string{"u", "v"}, Attempts: 3, RecoveryTimeout: time.Minute, RefreshWait: time.Second,
			FailOverRateLimit: true, FailOverOverload: true,
		}},
		Upstreams: map[string]tokenstore.UpstreamConfig{"u": {Pool: "p", Cluster: "c"}, "v": {Pool: "p", Cluster: "d"}},
		Pools:     map[string]tokenstore.PoolConfig{"p": {Provider: "p", Select: tokenstore.LeastLoaded}},
		Drivers:   map[string]tokenstore.Driver{"p": offline{d, tokenstoretest.NewDriver()}},
		Renewal: tokenstore.RenewalConfig{
			TokenEndpointTimeout: 10 * time.Second, ClaimLease: 45 * time.Second,
			BackoffMin: time.Second, BackoffMax: time.Minute,
		},
	}, m, tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true), zap.NewNop())
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// tape turns bytes into the messages of a peer.
type tape struct{ data []byte }

func (p *tape) next() byte {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return b
}

func oneOf[T any](p *tape, list ...T) T { return list[int(p.next())%len(list)] }

// raw is bytes as they are on the tape.
func (p *tape) raw() string {
	n := min(int(p.next()), len(p.data))
	s := string(p.data[:n])
	p.data = p.data[n:]
	return s
}

var (
	statuses = []string{
		"200", "401", "403", "400", "429", "402", "503", "529", "101", "", "x", "-1", "99999999999999999999",
	}
	lengths   = []string{"", "0", "40", "-1", "99999999", "10, 10"}
	encodings = []string{"", "gzip", "br", "deflate, gzip", "zstd", "unheard-of"}
	bodies    = []string{
		"", `{"error":{"type":"authentication_error","message":"invalid token"}}`, `{"type":"error","error":null}`,
		`{"error":"invalid_token"}`, `{"error":[{}]}`, "\x1f\x8b\x08", "[", "null", "<html>",
	}
	details = []any{"via_upstream", "upstream_reset", "", 1e300, -1.0, nil, []any{"x"}}
)

func (p *tape) message() *extprocv3.ProcessingRequest {
	m := &extprocv3.ProcessingRequest{}
	switch p.next() % 9 {
	case 0:
		h := headers(
			"x-tokenward-id", oneOf(p, "1", "2", "", "\xff"),
			"x-tokenward-route", oneOf(p, "r", "", "nowhere", "r\xff", p.raw()),
			"x-tokenward-tenant", oneOf(p, "", "x", "\xff"),
			":path", oneOf(p, "/v1/x", "", "?key=1", p.raw()),
			"x-tokenward-client", p.raw(),
		)
		m.Request = &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: h}
	case 1:
		h := headers(
			":status", oneOf(p, statuses...),
			"content-encoding", oneOf(p, encodings...),
			"retry-after", oneOf(p, "", "3", "-3", p.raw()),
		)
		if n := oneOf(p, lengths...); n != "" {
			h.Headers.Headers = append(h.Headers.Headers, headers("content-length", n).Headers.Headers...)
		}
		h.EndOfStream = p.next()%4 == 1
		m.Request = &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: h}
		values := map[string]any{attributeDetails: oneOf(p, details...), attributeFlags: oneOf(p, details...)}
		if s, err := structpb.NewStruct(values); err == nil && p.next()%2 == 1 {
			m.Attributes = map[string]*structpb.Struct{"envoy.filters.http.ext_proc": s, "nil": nil}
		}
	case 2:
		body := []byte(oneOf(p, bodies...) + p.raw())
		m.Request = &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: body}}
	case 3:
		m.Request = &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{}}
	case 4:
		m.Request = &extprocv3.ProcessingRequest_RequestTrailers{}
	case 5:
		m.Request = &extprocv3.ProcessingRequest_ResponseTrailers{}
	case 6: // what a peer leaves out
		switch p.next() % 4 {
		case 0:
			m.Request = &extprocv3.ProcessingRequest_RequestHeaders{}
		case 1:
			m.Request = &extprocv3.ProcessingRequest_ResponseHeaders{}
		case 2:
			m.Request = &extprocv3.ProcessingRequest_ResponseBody{}
		}
	case 7:
		list := &corev3.HeaderMap{Headers: []*corev3.HeaderValue{nil, {}, {Key: "x-tokenward-route", Value: "r"}}}
		m.Request = &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: list}}
	case 8: // whatever the bytes mean
		_ = proto.Unmarshal([]byte(p.raw()), m) // what it has understood until an error is as good
	}
	return m
}

// play is one peer's stream to its end.
func play(t *testing.T, s *Server, p *tape) {
	t.Helper()
	ctx, cancel := context.WithCancel(newEnvoy(t.Context()))
	defer cancel()
	e := &silent{end: ctx.Done(), exchange: exchange{ctx: ctx}}
	for n := p.next()%6 + 1; n > 0 && len(p.data) > 0; n-- {
		e.in = append(e.in, p.message())
	}
	if p.next()%2 == 0 {
		time.AfterFunc(5*time.Second, cancel)
	} else {
		e.end = closed
	}
	e.sent = func(m *extprocv3.ProcessingResponse) {
		if _, err := proto.Marshal(m); err != nil {
			t.Errorf("an answer that cannot be sent: %v", err)
		}
	}
	switch err := s.Process(e); status.Code(err) {
	case codes.OK, codes.InvalidArgument, codes.Canceled:
	case codes.Unavailable: // it ended before anything came
	default:
		if !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v", err)
		}
	}
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// FuzzAnySequenceOfMessagesIsAnsweredOrRefused: a peer's messages, in whatever order and of whatever content, end no
// process, hold no place and make no series of their own.
func FuzzAnySequenceOfMessagesIsAnsweredOrRefused(f *testing.F) {
	for _, seed := range []string{
		"\x00\x02\x00\x00",                                             // a body first
		"\x00\x02\x01\x02\x00\x00\x02\x00",                             // bodies
		"\x00\x01\x01\x00\x00\x00",                                     // response headers first
		"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",                 // request headers twice
		"\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00", // a whole attempt
		"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x02\x00\x00\x00\x00\x02\x01\x00",     // with a peeked body
		"\x05\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x02\x00\x00\x00\x00\x01\x01\x00\x00", // headers for a body
		"\x00\x00\x00\x03\x00\x00\x00\x00\x00", "\x00\x00\x03\x03\x00\x00\x00\x00\x00", "\x01\x07\x07\x00",
		"\x00\x06\x02\x00", "\x02\x03\x04\x05",
		"\x00\x08\x04\x12\x02\x0a\x00", "\x01\x07\x06\x01\x00",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed+seed+seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, generic bool) {
		synctest.Test(t, func(t *testing.T) {
			driver := map[bool]string{true: "oauth2", false: "anthropic"}[generic]
			tokens, stop := realStore(t, driver)
			defer stop()
			reg := prometheus.NewRegistry()
			cfg := Config{TrailAge: time.Minute, Upstreams: map[string][]string{"r": {"u", "v"}}}
			s, err := New(cfg, &Socket{}, tokens, reg, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			for p := (&tape{data}); len(p.data) > 0; {
				play(t, s, p)
			}
			time.Sleep(20 * time.Minute) // of the bubble: cooldowns end
			bounded(t, reg)
			everyPlaceIsFree(t, tokens)
		})
	})
}

// bounded checks that nothing but the configuration's names has become a label, and that no stream is left.
func bounded(t *testing.T, reg *prometheus.Registry) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if v := l.GetValue(); l.GetName() == "route" && v != "r" && v != unknownRoute || !utf8.ValidString(v) {
					t.Errorf("%s has the label %s=%q", f.GetName(), l.GetName(), v)
				}
			}
			if f.GetName() == "tokenward_streams" && m.GetGauge().GetValue() != 0 {
				t.Errorf("%v streams are open", m.GetGauge().GetValue())
			}
		}
	}
}

// everyPlaceIsFree takes as many places as the accounts' limits have, if any account can serve.
func everyPlaceIsFree(t *testing.T, s *tokenstore.Store) {
	t.Helper()
	able := 0
	for _, a := range s.Statuses() {
		if a.State == tokenstore.StateActive && a.Routable {
			able++
		}
	}
	for range 2 * able {
		p, err := s.Pick(t.Context(), tokenstore.PickRequest{Route: "r"})
		if err != nil {
			t.Fatalf("%d accounts, and a place is not free: %v", able, err)
		}
		defer p.Release()
	}
}
