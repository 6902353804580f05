package provider

import (
	"encoding/json"
	"strconv"
	"time"
)

// body reads the times in an error object. Only fields count, at the places where providers put them: the message's
// words may be the client's own.
func (s *signals) body(raw []byte) {
	var top any
	if json.Unmarshal(raw, &top) != nil {
		return
	}
	s.fields(top)
	e := field(top, "error")
	s.fields(e)
	details, _ := field(e, "details").([]any)
	for _, d := range details { // google.rpc.RetryInfo, google.rpc.ErrorInfo
		s.fields(d)
		s.fields(field(d, "metadata"))
	}
}

// fields reads an object's times; each is asked for outright, or the end of a window that is used up.
func (s *signals) fields(o any) {
	for _, f := range []struct {
		name string
		unit time.Duration // 0: an instant
	}{
		{"resets_in_seconds", time.Second},
		{"resets_at", 0}, // usage_limit_reached of OpenAI's Codex backend
		{"reset_after_seconds", time.Second},
		{"reset_at", 0},
		{"retry_after", time.Second},
		{"retry_after_seconds", time.Second},
		{"retry_after_ms", time.Millisecond},
		{"retryDelay", time.Second},
		{"quotaResetDelay", time.Second},
		{"quotaResetTimeStamp", 0}, // Google
	} {
		v := text(field(o, f.name))
		if f.unit == 0 {
			s.firm = max(s.firm, instant(v, s.now))
		} else {
			s.firm = max(s.firm, span(v, f.unit, s.now))
		}
	}
}

func field(o any, name string) any {
	m, _ := o.(map[string]any)
	return m[name]
}

// text is a value as a header would have it. google.protobuf.Duration may be an object in some encodings.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any:
		return text(v["seconds"])
	}
	return ""
}
