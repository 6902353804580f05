package extproc

import (
	"context"
	"net/http"
	"slices"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/metadata"

	"github.com/tokenward/tokenward/tokenstore"
)

// peekTimeout bounds the wait for a small error body. After it the stream ends cleanly and Envoy goes on alone.
const peekTimeout = time.Second

// peek asks Envoy for the body of an error answer and waits for it. If it does not come in time, the headers alone
// decide. Then the stream ends cleanly, and what Envoy holds goes on as it came: x-tokenward-status is still in place,
// so that the outer listener retries a 401 and passes the rest.
func (a *attempt) peek() (bool, error) {
	a.next = responseBody
	if err := a.stream.Send(peekReply(a.response.mode)); err != nil {
		a.cut()
		return false, a.ended(err)
	}
	type received struct {
		m   *extprocv3.ProcessingRequest
		err error
	}
	got := make(chan received, 1)
	go func() { // ends with the stream at the latest
		m, err := a.stream.Recv()
		got <- received{m, err}
	}()
	t := time.NewTimer(peekTimeout)
	defer t.Stop()
	select {
	case r := <-got:
		if r.err != nil {
			a.cut()
			return false, a.ended(r.err)
		}
		return a.handle(r.m)
	case <-t.C:
	}
	return false, a.late()
}

// mayPeekPartially reports whether the stream's Envoy lets us ask for answers of unknown length. Who does not allow it
// goes on with the headers at once, undecided.
func mayPeekPartially(ctx context.Context) bool {
	return slices.Contains(metadata.ValueFromIncomingContext(ctx, metadataPeek), peekPartial)
}

// late decides without the body, which has not come in time. The answer's headers are out of reach then: a 401 that
// should pass is tried again by the outer listener, and passes when it comes once more.
func (a *attempt) late() error {
	a.blind, a.response.Peekable, a.response.unread = true, false, unreadTimeout
	d, err := a.server.tokens.Report(a.stream.Context(), a.pick, a.response.Response, a.trail, nil)
	if err != nil {
		return nil //nolint:nilerr // the client left
	}
	meta := a.responseMetadata(d)
	switch action := d.Action; {
	case action == tokenstore.Retry:
		a.conclude(d)
		return a.stream.Send(retryReply(meta))
	case action == tokenstore.Refuse:
		a.conclude(d)
		return a.stream.Send(refusalReply(d.Refusal, a.shown(a.number), meta))
	case a.response.Status == http.StatusUnauthorized:
		d.Action = tokenstore.Retry
	}
	a.conclude(d)
	return nil
}

// cut takes the headers of an answer whose body will not come as evidence. Nobody waits for what follows.
func (a *attempt) cut() {
	a.missed(unreadCut)
	a.response.Peekable = false
	ctx, cancel := context.WithCancel(a.stream.Context())
	cancel()
	_, _ = a.server.tokens.Report(ctx, a.pick, a.response.Response, a.trail, nil) // there is nobody to tell
}

// missed counts evidence that went unread, and why.
func (a *attempt) missed(why unread) {
	if why != "" {
		a.server.metrics.unread.WithLabelValues(a.route, a.pick.Upstream, string(why)).Inc()
	}
}
