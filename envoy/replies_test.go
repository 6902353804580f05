package envoy

import (
	"slices"
	"strings"
	"testing"
	"time"

	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// TestAnswersOfEnvoysOwnAreMadeReadable: every one has a reason and a body, but for what the service itself says.
func TestAnswersOfEnvoysOwnAreMadeReadable(t *testing.T) {
	eachSample(t, func(t *testing.T, b built) {
		for side, hcm := range map[string]*hcmv3.HttpConnectionManager{"outer": b.outer, "inner": b.inner} {
			mappers := hcm.GetLocalReplyConfig().GetMappers()
			if side == "inner" {
				if got := expression(t,
					mappers[0]); got != "response.code_details.startsWith('tokenward_')" || len(mappers[0].GetHeadersToAdd()) > 0 ||
					mappers[0].GetBodyFormatOverride() != nil {
					t.Errorf("what the service answers is changed: %v", mappers[0])
				}
				mappers = mappers[1:]
			}
			for _, m := range mappers {
				h := m.GetHeadersToAdd()[0].GetHeader()
				body := m.GetBodyFormatOverride().GetJsonFormat().GetFields()
				if h.GetKey() != "tokenward-reason" ||
					body["tokenward"].GetStructValue().GetFields()["reason"].GetStringValue() != h.GetValue() ||
					body["error"].GetStructValue().GetFields()["code"].GetStringValue() != h.GetValue() {
					t.Errorf("%s: the reason differs between header and body: %v", side, m)
				}
				if text := body["error"].GetStructValue().GetFields()["message"].GetStringValue(); text == "" ||
					strings.Contains(text, "%") {
					t.Errorf("%s: message %q", side, text)
				}
			}
			for _, last := range []string{badRequest.when, upstreamFailed.when} {
				if !slices.ContainsFunc(mappers, func(m *hcmv3.ResponseMapper) bool { return expression(t, m) == last }) {
					t.Errorf("%s: nothing catches %s", side, last)
				}
			}
		}
	})
}

func expression(t *testing.T, m *hcmv3.ResponseMapper) string {
	t.Helper()
	f := m.GetFilter().GetExtensionFilter()
	if f == nil {
		return ""
	}
	c := &celv3.ExpressionFilter{}
	unpack(t, f.GetTypedConfig(), c)
	return c.GetExpression()
}

// TestAServiceThatIsAwayIsWaitedForOnce: the tries to reach it do not end before the time is over.
func TestAServiceThatIsAwayIsWaitedForOnce(t *testing.T) {
	c := samples()["small"]
	for _, wait := range []time.Duration{500 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Minute} {
		c.ServiceWait = wait
		f := decode(t, c).filter
		p := f.GetGrpcService().GetRetryPolicy()
		longest := p.GetRetryBackOff().GetMaxInterval().AsDuration()
		if usual := time.Duration(p.GetNumRetries().GetValue()) * longest / 2; usual < wait*3/2 {
			t.Errorf("%d tries take %s, which is not enough for %s", p.GetNumRetries().GetValue(), usual, wait)
		}
		if f.GetMessageTimeout().AsDuration() != wait || f.GetMaxMessageTimeout().AsDuration() < wait {
			t.Errorf("a wait of %s became %s, at most %s", wait, f.GetMessageTimeout().AsDuration(),
				f.GetMaxMessageTimeout().AsDuration())
		}
	}
}
