package extproc

import (
	"context"
	"errors"
	"io"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tokenward/tokenward/tokenstore"
)

// attempt is one stream: one upstream try of a request.
type attempt struct {
	server   *Server
	stream   extprocv3.ExternalProcessor_ProcessServer
	facts    requestFacts
	pick     tokenstore.Pick
	trail    *tokenstore.Trail
	response responseFacts
	next     step   // what the stream may send next
	route    string // the metrics' label: one of the configuration, or unknownRoute
	number   int    // of this attempt, from 1
	picked   bool   // the request headers are answered
	released bool   // the account's place is free again
	judged   bool   // the request's fate is counted
	blind    bool   // the request has waited for a body in vain: once is enough
}

// step is a message that a stream may send. Each comes once, in this order, and the last one only when it is asked for.
type step int

const (
	requestHeaders step = iota + 1
	responseHeaders
	responseBody
)

var errSequence = status.Error(codes.InvalidArgument,
	"the filter sent a message out of order, or one that its generated configuration never sends; use the output of "+
		"tokenward envoy")

// Process serves one attempt (ext_proc's service definition).
func (s *Server) Process(st extprocv3.ExternalProcessor_ProcessServer) error {
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	a := &attempt{server: s, stream: st, next: requestHeaders}
	defer a.end()
	for {
		m, err := st.Recv()
		if err != nil {
			return a.ended(err)
		}
		more, err := a.handle(m)
		if err != nil || !more {
			return err
		}
	}
}

// handle answers one message. more is false when nothing else can come. What is out of order is refused before it
// changes anything: a second pick would lose the first one's place in its account.
func (a *attempt) handle(m *extprocv3.ProcessingRequest) (more bool, err error) {
	expected := a.next
	a.next = 0
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		if expected == requestHeaders {
			return a.onRequest(readRequest(r.RequestHeaders))
		}
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		if expected == responseHeaders {
			a.response = readResponse(a.stream.Context(), r.ResponseHeaders, m.GetAttributes(), a.blind)
			return a.onResponse()
		}
	case *extprocv3.ProcessingRequest_ResponseBody:
		if expected == responseBody {
			a.missed(a.response.readBody(r.ResponseBody))
			return a.onResponse()
		}
	}
	return false, errSequence
}

// onRequest picks account and upstream.
func (a *attempt) onRequest(f requestFacts) (bool, error) {
	started := time.Now()
	a.facts, a.route = f, a.server.label(f.route)
	if reflects(f.headers.Get(":method")) {
		a.count("refused")
		a.picked = true
		return false, a.stream.Send(refusalReply(&reflected, 0, a.requestMetadata("refuse")))
	}
	a.trail, a.blind = a.server.trails.take(f.id)
	a.number = a.trail.Attempts() + 1 // Report adds to the trail
	p, err := a.server.tokens.Pick(
		a.stream.Context(),
		tokenstore.PickRequest{
			Route:     f.route,
			Tenant:    f.tenant,
			Client:    f.client,
			Path:      f.path,
			RequestID: f.request,
			Trail:     a.trail,
			Holder:    a,
		},
	)
	if err != nil {
		var ref *tokenstore.Refusal
		if !errors.As(err, &ref) {
			return false, status.FromContextError(err).Err()
		}
		a.count("refused")
		a.picked = true
		return false, a.stream.Send(refusalReply(ref, a.shown(a.number-1), a.requestMetadata("refuse")))
	}
	a.pick, a.picked, a.next = p, true, responseHeaders
	a.server.metrics.request.Observe(time.Since(started).Seconds())
	return true, a.stream.Send(pickReply(p, f, a.server.scrub, a.requestMetadata("")))
}

// onResponse reports the answer and carries out the decision.
func (a *attempt) onResponse() (bool, error) {
	started := time.Now()
	d, err := a.server.tokens.Report(a.stream.Context(), a.pick, a.response.Response, a.trail, a)
	if err != nil {
		return false, status.FromContextError(err).Err()
	}
	a.server.metrics.response.Observe((time.Since(started) - d.Waited).Seconds())
	if d.Action == tokenstore.Peek {
		return a.peek()
	}
	a.conclude(d)
	meta := a.responseMetadata(d)
	switch {
	case d.Action == tokenstore.Refuse:
		return false, a.stream.Send(refusalReply(d.Refusal, a.shown(a.number), meta))
	case a.response.BodyRead:
		return false, a.stream.Send(bodyReply(d.Action == tokenstore.Retry, a.shown(a.number), meta))
	}
	return false, a.stream.Send(responseReply(d.Action == tokenstore.Retry, a.shown(a.number), meta))
}

// conclude keeps the trail of a request that goes on and counts one that is decided. The account's place is free before
// Envoy hears of the decision: its next attempt may need it.
func (a *attempt) conclude(d tokenstore.Decision) {
	a.release()
	m := a.server.metrics
	m.attempts.WithLabelValues(a.route, a.pick.Upstream, d.Verdict.Class.String()).Inc()
	if d.Verdict.NeedBody {
		a.missed(a.response.unread)
	}
	switch {
	case d.Action == tokenstore.Retry:
		a.server.trails.put(a.facts.id, d.Trail, a.blind)
		a.judged = true
	case d.Action == tokenstore.Refuse:
		a.count("refused")
	case d.Verdict.Class != tokenstore.ClassOK:
		a.count("failed")
	case a.trail == nil:
		a.count("ok")
	default:
		a.count("recovered")
		m.recovered(a.route, a.trail)
	}
}

// Hold tells Envoy that the answer will take a while. Once per phase.
func (a *attempt) Hold(limit time.Duration) error {
	return a.stream.Send(&extprocv3.ProcessingResponse{OverrideMessageTimeout: durationpb.New(limit + time.Second)})
}

// ended maps the end of the stream: Envoy resets it once it has the last answer, which is success.
func (a *attempt) ended(err error) error {
	switch {
	case !a.picked && errors.Is(err, io.EOF):
		return status.Error(codes.Unavailable, "the stream ended before the request headers")
	case errors.Is(err, io.EOF), status.Code(err) == codes.Canceled, errors.Is(err, context.Canceled):
		return nil
	}
	return err
}

func (a *attempt) end() {
	a.release()
	if a.route != "" {
		a.count("canceled")
	}
}

func (a *attempt) release() {
	if !a.released {
		a.released = true
		a.pick.Release()
	}
}

// count counts the request's fate, once.
func (a *attempt) count(result string) {
	if a.judged {
		return
	}
	a.judged = true
	a.server.metrics.requests.WithLabelValues(a.route, result).Inc()
}

// shown is the number of attempts to reveal to the client; 0: nothing is revealed.
func (a *attempt) shown(attempts int) int {
	if !a.server.cfg.RevealAttempts[a.facts.route] {
		return 0
	}
	return attempts
}
