package extproc

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/tokenward/tokenward/tokenstore"
)

// script is a store with one place whose answers a test writes. Its calls come one after the other: a test plays one
// stream at a time.
type script struct {
	*tokenstore.Store
	refuse  error                  // what Pick returns; nil: the account's place
	hold    time.Duration          // what Pick says to its holder; 0: nothing
	decide  func(*report) decision // nil: pass
	trails  []*tokenstore.Trail    // that came with the picks
	reports []tokenstore.Response
}

// report is what came with one Report.
type report struct {
	tokenstore.Response
	ctx  context.Context
	hold func(time.Duration) error // nil: nobody can be told
}

type decision struct {
	tokenstore.Decision
	err error
}

func does(a tokenstore.Action) decision {
	d := tokenstore.Decision{Action: a}
	switch a {
	case tokenstore.Pass:
		d.Verdict.Class = tokenstore.ClassOK
	case tokenstore.Refuse:
		d.Verdict.Class = tokenstore.ClassForbidden
		d.Refusal = &tokenstore.Refusal{Status: 503, Reason: tokenstore.ReasonCredentialsRefused, Body: []byte("why")}
	case tokenstore.Retry, tokenstore.Peek:
		d.Verdict.Class, d.Verdict.NeedBody = tokenstore.ClassForbidden, a == tokenstore.Peek
		d.Trail = &tokenstore.Trail{}
	}
	return decision{Decision: d}
}

// always decides the same, but for a body that can still be had.
func always(a tokenstore.Action) func(*report) decision {
	return func(r *report) decision {
		if r.Peekable {
			return does(tokenstore.Peek)
		}
		d := does(a)
		d.Verdict.NeedBody = !r.BodyRead
		return d
	}
}

func (s *script) Pick(ctx context.Context, q tokenstore.PickRequest) (tokenstore.Pick, error) {
	s.trails = append(s.trails, q.Trail)
	if s.hold > 0 {
		if err := q.Holder.Hold(s.hold); err != nil {
			return tokenstore.Pick{}, err
		}
	}
	if s.refuse != nil {
		return tokenstore.Pick{}, s.refuse
	}
	return s.Store.Pick(ctx, q)
}

func (s *script) Report(
	ctx context.Context, _ tokenstore.Pick, r tokenstore.Response, _ *tokenstore.Trail, h tokenstore.Holder,
) (tokenstore.Decision, error) {
	s.reports = append(s.reports, r)
	if s.decide == nil {
		return does(tokenstore.Pass).Decision, nil
	}
	in := &report{Response: r, ctx: ctx}
	if h != nil {
		in.hold = h.Hold
	}
	d := s.decide(in)
	return d.Decision, d.err
}

// line is a gRPC connection to a Server, in memory.
type line struct {
	t      *testing.T
	client extprocv3.ExternalProcessorClient
	script *script
	server *Server
	reg    *prometheus.Registry
}

// dialled runs f at one end of a connection, in a bubble. It fails if a goroutine is left, of a stream or of its peek.
func dialled(t *testing.T, f func(l *line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &line{t: t, script: &script{Store: limitedStore(t)}, reg: prometheus.NewRegistry()}
		cfg := Config{
			TrailAge: time.Minute, RevealAttempts: map[string]bool{"r": true}, Upstreams: map[string][]string{"r": {"u"}},
		}
		var err error
		if l.server, err = New(cfg, &Socket{}, l.script, l.reg, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		memory := bufconn.Listen(1 << 16)
		l.server.open()
		l.server.serve(memory)
		defer l.server.serving.Wait()
		defer l.server.grpc.Stop()
		conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return memory.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		l.client = extprocv3.NewExternalProcessorClient(conn)
		f(l)
	})
}

// stream is one attempt, seen by Envoy.
type stream struct {
	extprocv3.ExternalProcessor_ProcessClient
	*line
	cancel context.CancelFunc
}

func (l *line) open() *stream {
	l.t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(l.t.Context(), metadataPeek, peekPartial))
	l.t.Cleanup(cancel)
	st, err := l.client.Process(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	return &stream{st, l, cancel}
}

func (s *stream) says(m *extprocv3.ProcessingRequest) {
	s.t.Helper()
	if err := s.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stream) hears() *extprocv3.ProcessingResponse {
	s.t.Helper()
	m, err := s.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// ends checks how the stream ends after what was heard of it, and that nothing of it is left.
func (s *stream) ends(want codes.Code) {
	s.t.Helper()
	m, err := s.Recv()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if status.Code(err) != want {
		s.t.Errorf("it ended with %v %v, want %s", m, err, want)
	}
	s.leftNothing()
}

// leftNothing waits for the server's end of the stream and checks that the account's place is free.
func (s *stream) leftNothing() {
	s.t.Helper()
	synctest.Wait()
	if n := gauged(s.t, s.reg, "tokenward_streams"); n != 0 {
		s.t.Errorf("%v streams are open", n)
	}
	p, err := s.script.Store.Pick(s.t.Context(), tokenstore.PickRequest{Route: "r"})
	if err != nil {
		s.t.Errorf("the place is not free: %v", err)
	}
	p.Release()
}

// picked plays the request phase.
func (s *stream) picked() {
	s.t.Helper()
	s.says(message("x-tokenward-id", "1", "x-tokenward-route", "r"))
	if m := s.hears(); m.GetRequestHeaders() == nil {
		s.t.Fatalf("the pick was answered with %v", m)
	}
}

// asked plays an attempt until the body of its answer is asked for.
func (s *stream) asked(pairs ...string) {
	s.t.Helper()
	s.picked()
	s.says(answer(pairs...))
	if m := s.hears(); m.GetModeOverride() == nil {
		s.t.Fatalf("no body was asked for: %v", m)
	}
}

// fates checks the counters of the requests' ends: none but these, each once.
func (l *line) fates(want ...string) {
	l.t.Helper()
	var got []string
	for _, result := range []string{"ok", "recovered", "failed", "refused", "canceled"} {
		for range int(series(l.t, l.reg, "tokenward_requests_total", result)) {
			got = append(got, result)
		}
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("counted %v, want %v", got, want)
	}
}

func gauged(t *testing.T, reg *prometheus.Registry, name string) float64 {
	return series(t, reg, name, "")
}

// series is the sum of a metric's series that have a label of this value.
func series(t *testing.T, reg *prometheus.Registry, name, label string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			fits := f.GetName() == name && label == ""
			for _, l := range m.GetLabel() {
				fits = fits || f.GetName() == name && l.GetValue() == label
			}
			if fits {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// mutated lists what a reply does to headers: name=value set, -name removed.
func mutated(m *extprocv3.HeaderMutation) string {
	var out []string
	for _, h := range m.GetSetHeaders() {
		out = append(out, h.GetHeader().GetKey()+"="+string(h.GetHeader().GetRawValue()))
	}
	for _, name := range m.GetRemoveHeaders() {
		out = append(out, "-"+name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestAnAnswersHeadersAreDecided(t *testing.T) {
	for name, c := range map[string]struct {
		decision decision
		headers  string // of the reply to response headers
		refusal  string // the body of an answer of ours
		fates    []string
	}{
		"pass":  {does(tokenstore.Pass), "-x-tokenward-status tokenward-attempts=1", "", []string{"ok"}},
		"retry": {does(tokenstore.Retry), "-x-tokenward-status x-tokenward-retry=1", "", nil},
		"refuse": {does(tokenstore.Refuse), "content-type= tokenward-attempts=1 tokenward-reason=credentials_refused " +
			"x-should-retry=false x-tokenward-status=0", "why", []string{"refused"}},
		"an error passed": {
			decision{Decision: tokenstore.Decision{
				Action: tokenstore.Pass, Verdict: tokenstore.Verdict{Class: tokenstore.ClassForbidden},
			}},
			"-x-tokenward-status tokenward-attempts=1", "",
			[]string{"failed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dialled(t, func(l *line) {
				l.script.decide = func(*report) decision { return c.decision }
				s := l.open()
				s.picked()
				s.says(answer(":status", "200"))
				m := s.hears()
				got := mutated(m.GetResponseHeaders().GetResponse().GetHeaderMutation())
				if ours := m.GetImmediateResponse(); ours != nil {
					got = mutated(ours.GetHeaders())
				}
				if got != c.headers || string(m.GetImmediateResponse().GetBody()) != c.refusal {
					t.Errorf("the reply is %v\nwith %s\nwant %s", m, got, c.headers)
				}
				s.ends(codes.OK)
				l.fates(c.fates...)
			})
		})
	}
}

func TestAPickThatFailsIsAnsweredOrEndsTheStream(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		refused bool
		code    codes.Code
		fates   []string
	}{
		"nobody can serve": {
			&tokenstore.Refusal{Status: 429, Reason: tokenstore.ReasonAllCooling, RetryAfter: 1500 * time.Millisecond},
			true, codes.OK,
			[]string{"refused"},
		},
		"the client left":      {context.Canceled, false, codes.Canceled, []string{"canceled"}},
		"its time is over":     {context.DeadlineExceeded, false, codes.DeadlineExceeded, []string{"canceled"}},
		"something else fails": {errors.New("of no kind"), false, codes.Unknown, []string{"canceled"}},
	} {
		t.Run(name, func(t *testing.T) {
			dialled(t, func(l *line) {
				l.script.refuse = c.err
				s := l.open()
				s.says(message("x-tokenward-id", "1", "x-tokenward-route", "r"))
				if c.refused {
					m := s.hears().GetImmediateResponse()
					want := "content-type= retry-after=2 tokenward-reason=all_cooling x-tokenward-status=0"
					if got := mutated(m.GetHeaders()); got != want || m.GetStatus().GetCode() != 429 {
						t.Errorf("answered with %v, %s", m, got)
					}
				}
				s.ends(c.code)
				l.fates(c.fates...)
			})
		})
	}
}

func TestARequestsTrailGoesToItsNextAttemptOnce(t *testing.T) {
	dialled(t, func(l *line) {
		trail := &tokenstore.Trail{}
		for _, action := range []tokenstore.Action{tokenstore.Retry, tokenstore.Pass, tokenstore.Pass} {
			l.script.decide = func(*report) decision {
				d := does(action)
				if action == tokenstore.Retry {
					d.Trail = trail
				}
				return d
			}
			s := l.open()
			s.picked()
			s.says(answer(":status", "200"))
			s.hears()
			s.ends(codes.OK)
		}
		if want := []*tokenstore.Trail{nil, trail, nil}; !slices.Equal(l.script.trails, want) {
			t.Errorf("the picks came with %v", l.script.trails)
		}
		l.fates("ok", "recovered")
	})
}

func TestEnvoyIsToldToWaitASecondLongerThanTheStoreMay(t *testing.T) {
	dialled(t, func(l *line) {
		l.script.hold = 3 * time.Second
		l.script.decide = func(r *report) decision {
			if err := r.hold(7 * time.Second); err != nil {
				return decision{err: err}
			}
			time.Sleep(7 * time.Second) // of the bubble
			return does(tokenstore.Retry)
		}
		s := l.open()
		s.says(message("x-tokenward-id", "1", "x-tokenward-route", "r"))
		if d := s.hears().GetOverrideMessageTimeout().AsDuration(); d != 4*time.Second {
			t.Errorf("at the pick: %s", d)
		}
		if s.hears().GetRequestHeaders() == nil {
			t.Error("no pick")
		}
		s.says(answer(":status", "401"))
		if d := s.hears().GetOverrideMessageTimeout().AsDuration(); d != 8*time.Second {
			t.Errorf("at the report: %s", d)
		}
		if s.hears().GetResponseHeaders() == nil {
			t.Error("no decision")
		}
		s.ends(codes.OK)
	})
}

var body = &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
	ResponseBody: &extprocv3.HttpBody{Body: []byte("words"), EndOfStream: true},
}}

func TestAPeekedBodyIsReportedAndDecides(t *testing.T) {
	for action, headers := range map[tokenstore.Action]string{
		tokenstore.Pass:  "-x-tokenward-status tokenward-attempts=1",
		tokenstore.Retry: "-x-tokenward-status x-tokenward-retry=1",
		tokenstore.Refuse: "content-type= tokenward-attempts=1 tokenward-reason=credentials_refused " +
			"x-should-retry=false x-tokenward-status=0",
	} {
		t.Run(action.String(), func(t *testing.T) {
			dialled(t, func(l *line) {
				l.script.decide = always(action)
				s := l.open()
				s.asked(":status", "403")
				time.Sleep(peekTimeout - time.Millisecond) // of the bubble
				s.says(body)
				m := s.hears()
				got := mutated(m.GetResponseBody().GetResponse().GetHeaderMutation())
				if ours := m.GetImmediateResponse(); ours != nil {
					got = mutated(ours.GetHeaders())
				}
				if got != headers {
					t.Errorf("the reply is %v\nwith %s\nwant %s", m, got, headers)
				}
				time.Sleep(time.Hour) // of the bubble: the timer of the peek decides nothing more
				s.ends(codes.OK)
				if n := len(l.script.reports); n != 2 || string(l.script.reports[1].Body) != "words" {
					t.Errorf("%d reports: %v", n, l.script.reports)
				}
				if n := series(t, l.reg, "tokenward_unread_answers_total", ""); n != 0 {
					t.Errorf("%v answers are unread", n)
				}
			})
		})
	}
}

func TestAPeekThatIsNotAnsweredEndsTheStreamAfterASecond(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		action tokenstore.Action
		ours   int32 // the status of an answer of ours; 0: the stream just ends
		fates  []string
	}{
		"pass":          {"403", tokenstore.Pass, 0, []string{"ok"}},
		"a 401 to pass": {"401", tokenstore.Pass, 0, nil},
		"retry":         {"403", tokenstore.Retry, 503, nil},
		"refuse":        {"403", tokenstore.Refuse, 503, []string{"refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			dialled(t, func(l *line) {
				l.script.decide = always(c.action)
				s := l.open()
				s.asked(":status", c.status)
				began := time.Now()
				if c.ours != 0 {
					if got := int32(s.hears().GetImmediateResponse().GetStatus().GetCode()); got != c.ours {
						t.Errorf("answered with %d", got)
					}
				}
				s.ends(codes.OK)
				if took := time.Since(began); took != peekTimeout {
					t.Errorf("after %s", took)
				}
				if err := s.Send(body); !errors.Is(err, io.EOF) {
					t.Errorf("a body that comes late is taken: %v", err)
				}
				if n := series(t, l.reg, "tokenward_unread_answers_total", "timeout"); n != 1 {
					t.Errorf("%v answers are counted as unread", n)
				}
				l.fates(c.fates...)
			})
		})
	}
}

// phases lead a stream to where a peer may leave it.
var phases = map[string]func(s *stream){
	"before a message": func(*stream) {},
	"after the pick":   (*stream).picked,
	"in a peek":        func(s *stream) { s.asked(":status", "403") },
	"after an answer": func(s *stream) {
		s.picked()
		s.says(answer(":status", "200"))
		s.hears()
	},
}

func TestAPeerThatSaysNoMoreOrLeavesHoldsNothing(t *testing.T) {
	for phase, c := range map[string]struct {
		closed codes.Code // how the stream ends for a peer that still listens
		fates  []string
		cut    float64 // answers whose words are lost
	}{
		"before a message": {codes.Unavailable, nil, 0}, // Envoy must not send the request on without a token
		"after the pick":   {codes.OK, []string{"canceled"}, 0},
		"in a peek":        {codes.OK, []string{"canceled"}, 1},
		"after an answer":  {codes.OK, []string{"ok"}, 0},
	} {
		for leaves, leave := range map[string]func(s *stream){
			"half-closed": func(s *stream) {
				if err := s.CloseSend(); err != nil {
					s.t.Error(err)
				}
				s.ends(c.closed)
			},
			"cancelled": func(s *stream) { s.cancel(); s.leftNothing() },
		} {
			t.Run(leaves+" "+phase, func(t *testing.T) {
				dialled(t, func(l *line) {
					l.script.decide = always(tokenstore.Pass)
					began := time.Now()
					s := l.open()
					phases[phase](s)
					synctest.Wait()
					leave(s)
					if took := time.Since(began); took != 0 {
						t.Errorf("noticed after %s", took)
					}
					l.fates(c.fates...)
					if n := series(t, l.reg, "tokenward_unread_answers_total", "cut"); n != c.cut {
						t.Errorf("%v answers were cut", n)
					}
					if c.cut == 1 && len(l.script.reports) != 2 {
						t.Errorf("%d reports: the headers of the cut answer are evidence", len(l.script.reports))
					}
				})
			})
		}
	}
}

func TestAPeerThatLeavesARefreshFreesItsPlace(t *testing.T) {
	dialled(t, func(l *line) {
		l.script.decide = func(r *report) decision {
			<-r.ctx.Done()
			return decision{err: r.ctx.Err()}
		}
		s := l.open()
		s.picked()
		s.says(answer(":status", "401"))
		synctest.Wait()
		s.cancel()
		s.leftNothing()
		l.fates("canceled")
		if n := series(t, l.reg, "tokenward_attempts_total", ""); n != 0 {
			t.Errorf("%v attempts are judged", n)
		}
	})
}

func TestAHalfClosedStreamStillGetsTheDecisionItWaitsFor(t *testing.T) {
	dialled(t, func(l *line) {
		l.script.decide = func(*report) decision {
			time.Sleep(5 * time.Second) // of the bubble
			return does(tokenstore.Retry)
		}
		s := l.open()
		s.picked()
		s.says(answer(":status", "401"))
		synctest.Wait()
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if got := mutated(s.hears().GetResponseHeaders().GetResponse().GetHeaderMutation()); !strings.Contains(
			got, headerRetry) {
			t.Errorf("decided: %s", got)
		}
		s.ends(codes.OK)
	})
}

func TestOnTheWireAMessageOutOfOrderEndsTheStream(t *testing.T) {
	request, response := message("x-tokenward-route", "r"), answer(":status", "401")
	for name, c := range map[string]struct {
		phase string
		say   *extprocv3.ProcessingRequest
	}{
		"an answer first":            {"before a message", response},
		"a body first":               {"before a message", body},
		"nothing":                    {"before a message", &extprocv3.ProcessingRequest{}},
		"a second request":           {"after the pick", request},
		"a body without its headers": {"after the pick", body},
		"a second answer":            {"in a peek", response},
		"a request in a peek":        {"in a peek", request},
	} {
		t.Run(name, func(t *testing.T) {
			dialled(t, func(l *line) {
				l.script.decide = always(tokenstore.Pass)
				s := l.open()
				phases[c.phase](s)
				reports := len(l.script.reports)
				s.says(proto.CloneOf(c.say))
				s.ends(codes.InvalidArgument)
				if n := len(l.script.reports); n != reports {
					t.Errorf("it was reported: %d, before %d", n, reports)
				}
			})
		})
	}
}
