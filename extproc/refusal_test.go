package extproc

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// TestClientsRepeatOnlyWhatARepeatCanHelp: their libraries try every 503 again, unless they are told not to.
func TestClientsRepeatOnlyWhatARepeatCanHelp(t *testing.T) {
	for _, tt := range []struct {
		reason tokenstore.Reason
		after  time.Duration
		want   string
	}{
		{tokenstore.ReasonCredentialsRefused, 0, "false"},
		{tokenstore.ReasonNoHealthyAccount, 0, "false"},
		{tokenstore.ReasonNoHealthyAccount, 3 * time.Second, ""},
		{tokenstore.ReasonTenantDenied, 0, "false"},
		{tokenstore.ReasonUnknownRoute, 0, "false"},
		{tokenstore.ReasonAllCooling, time.Minute, ""},
		{tokenstore.ReasonAllCooling, 0, ""},
		{tokenstore.ReasonStoreUnavailable, 0, ""},
		{tokenstore.ReasonUpstreamUnreachable, 0, ""},
	} {
		m := refusalReply(&tokenstore.Refusal{Status: 503, Reason: tt.reason, RetryAfter: tt.after}, 0, nil)
		got := ""
		for _, h := range m.GetImmediateResponse().GetHeaders().GetSetHeaders() {
			if h.GetHeader().GetKey() == headerShouldRetry {
				got = string(h.GetHeader().GetRawValue())
			}
		}
		if got != tt.want {
			t.Errorf("%s after %s: %q, want %q", tt.reason, tt.after, got, tt.want)
		}
	}
}
