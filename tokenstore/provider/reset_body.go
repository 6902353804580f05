package provider

import (
	"encoding/json"
	"strconv"
)

// body reads the times in an error object. Only fields count, at the places where providers put them: the message's
// words may be the client's own.
func (s *signals) body(raw []byte, wanted []ask) {
	var top any
	if len(raw) == 0 || json.Unmarshal(raw, &top) != nil {
		return
	}
	s.fields(top, wanted)
	e := field(top, "error")
	s.fields(e, wanted)
	details, _ := field(e, "details").([]any)
	for _, d := range details { // google.rpc.RetryInfo, google.rpc.ErrorInfo
		s.fields(d, wanted)
		s.fields(field(d, "metadata"), wanted)
	}
}

// fields reads an object's times.
func (s *signals) fields(o any, wanted []ask) {
	for _, f := range wanted {
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
