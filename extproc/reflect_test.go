package extproc

import (
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// TestNoTokenGoesWhereTheRequestComesBack: whatever Envoy lets in.
func TestNoTokenGoesWhereTheRequestComesBack(t *testing.T) {
	store := limitedStore(t)
	for method, refused := range map[string]bool{
		"TRACE": true, "trace": true, "Track": true, "TRACK": true, "GET": false, "PATCH": false, "TRACES": false, "": false,
	} {
		s, err := New(Config{TrailAge: time.Minute}, &Socket{}, store, prometheus.NewRegistry(), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		var got *extprocv3.ProcessingResponse
		in := &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
			RequestHeaders: headers(headerRoute, "r", ":method", method),
		}}
		e := &exchange{
			ctx:  t.Context(),
			in:   []*extprocv3.ProcessingRequest{in},
			sent: func(m *extprocv3.ProcessingResponse) { got = m },
		}
		if err := s.Process(e); err != nil {
			t.Fatal(err)
		}
		r := got.GetImmediateResponse()
		if (r != nil) != refused || (got.GetRequestHeaders() == nil) != refused {
			t.Errorf("%s: %v", method, got)
		}
		if refused && (r.GetStatus().GetCode() != 405 || !strings.Contains(r.String(), "method_not_allowed")) {
			t.Errorf("%s: %v", method, r)
		}
	}
}
