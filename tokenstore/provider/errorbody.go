package provider

import (
	"encoding/json"
	"strings"
)

// errorOf reads an error body: {"error":{"type":…,"code":…,"message":…}} of OpenAI and Anthropic, Google's with status
// and details, RFC 6749's {"error":"…","error_description":"…"}, RFC 9457's, and objects without any "error" around
// them. A value of another type than expected loses itself only.
func errorOf(body []byte) said {
	var top map[string]any
	if json.Unmarshal(body, &top) != nil {
		return said{}
	}
	o := top
	switch e := top["error"].(type) {
	case map[string]any:
		o = e
	case string:
		return said{kind: e, code: word(top, "code"), message: first(top, "error_description", "message", "detail", "error")}
	case nil:
		if list, _ := top["errors"].([]any); len(list) > 0 {
			if e, ok := list[0].(map[string]any); ok {
				o = e
			}
		}
	}
	e := said{
		code: word(o, "code", "status"), kind: word(o, "type"),
		message: first(o, "message", "detail", "error_description", "title"),
	}
	details, _ := o["details"].([]any)
	for _, d := range details { // google.rpc.ErrorInfo says it more precisely
		if info, ok := d.(map[string]any); ok {
			if reason := word(info, "reason"); reason != "" {
				e.code = reason
			}
		}
	}
	return e
}

// first is the first of the keys with a text, "" without one.
func first(o map[string]any, keys ...string) string {
	for _, k := range keys {
		if s, _ := o[k].(string); s != "" {
			return s
		}
	}
	return ""
}

// word is like first, but a number in quotes, which repeats the status, is no word.
func word(o map[string]any, keys ...string) string {
	for _, k := range keys {
		if s := first(o, k); strings.Trim(s, "0123456789") != "" {
			return s
		}
	}
	return ""
}
