package record

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file reads the values of a record that people write by hand in more than one form. An UnmarshalJSON that
// returns a *Error has kept what it could read.

// unquoted is JSON text that sits in a string: `vault kv put` can write nothing but strings.
func unquoted(data []byte) []byte {
	var text string
	if json.Unmarshal(data, &text) == nil {
		return []byte(text)
	}
	return data
}

// stringList is a JSON list of strings, or one comma-separated string, as `vault kv patch` writes it.
type stringList []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *stringList) UnmarshalJSON(data []byte) error {
	var list []string
	if json.Unmarshal(data, &list) != nil {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &list) != nil {
			list = strings.Split(s, ",")
		}
	}
	*l = nil
	for _, e := range list {
		if e = strings.TrimSpace(e); e != "" {
			*l = append(*l, e)
		}
	}
	return nil
}

// wireLabels is an object of strings, or k=v,k2=v2.
type wireLabels map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (l *wireLabels) UnmarshalJSON(data []byte) error {
	var keys map[string]json.RawMessage
	if text := unquoted(data); json.Unmarshal(text, &keys) != nil {
		var pairs string
		if err := json.Unmarshal(data, &pairs); err != nil {
			return err
		}
		return l.readPairs(pairs)
	}
	*l = nil
	var wrong error
	for key, raw := range keys {
		var value *string
		switch {
		case json.Unmarshal(raw, &value) != nil:
			wrong = &Error{Key: "labels", Rule: "must be an object of strings, or k=v,k2=v2"}
		case value != nil:
			l.set(key, *value)
		}
	}
	return wrong
}

func (l *wireLabels) readPairs(pairs string) error {
	for pair := range strings.SplitSeq(pairs, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if key = strings.TrimSpace(key); !ok || key == "" || strings.ContainsAny(key[:1], `{["`) { // broken JSON is no pair
			return errors.New("no pair")
		}
		l.set(key, strings.TrimSpace(value))
	}
	return nil
}

func (l *wireLabels) set(key, value string) {
	if *l == nil {
		*l = wireLabels{}
	}
	(*l)[key] = value
}

// wireLimits is the record's limits by key.
type wireLimits map[string]json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (w *wireLimits) UnmarshalJSON(data []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(unquoted(data), &keys); err != nil {
		return err
	}
	*w = keys
	var wrong error
	for _, key := range []string{"rpm", "concurrency"} {
		raw, ok := keys[key]
		if !ok {
			continue
		}
		n := 0
		switch {
		case string(raw) == `""`:
			delete(keys, key)
		case json.Unmarshal(raw, &n) != nil || n < 0 || n > limitMost:
			delete(keys, key)
			wrong = limitError(key)
		}
	}
	return wrong
}

func limitsToWire(l Limits) wireLimits {
	w := wireLimits{}
	maps.Copy(w, l.Extra)
	for k, n := range map[string]int{"rpm": l.RPM, "concurrency": l.Concurrency} {
		if delete(w, k); n != 0 {
			w[k] = strconv.AppendInt(nil, int64(n), 10)
		}
	}
	return w
}

func (w wireLimits) read() Limits {
	var l Limits
	for key, n := range map[string]*int{"rpm": &l.RPM, "concurrency": &l.Concurrency} {
		_ = json.Unmarshal(w[key], n) // absent, or looked at already
		delete(w, key)
	}
	if len(w) > 0 {
		l.Extra = w
	}
	return l
}

// wireState is an operator's state. Who writes another word hardly means "go on": such an account is held.
type wireState OperatorState

// UnmarshalJSON implements json.Unmarshaler.
func (s *wireState) UnmarshalJSON(data []byte) error {
	var word string
	if json.Unmarshal(data, &word) == nil && (word == string(Active) || word == string(Paused)) {
		*s = wireState(word)
		return nil
	}
	*s = wireState(Paused)
	return &Error{Key: "state", Rule: "must be active or paused"}
}

// clientID is a string. Some providers' ids are numbers, and tools write them as such: their digits count.
type clientID string

var digits = regexp.MustCompile(`^[0-9]+$`)

// UnmarshalJSON implements json.Unmarshaler.
func (c *clientID) UnmarshalJSON(data []byte) error {
	if digits.Match(data) {
		*c = clientID(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(c))
}

// instant is a time as an RFC 3339 string, "" for none.
type instant struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (i instant) MarshalJSON() ([]byte, error) { return json.Marshal(i.UTC().Format(time.RFC3339Nano)) }

// UnmarshalJSON implements json.Unmarshaler.
func (i *instant) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil || s == "" {
		return err
	}
	t, err := time.Parse(time.RFC3339, s)
	if i.Time = t.UTC(); i.Year() < 0 || i.Year() > 9999 { // an offset can lead out of what RFC 3339 can say again
		return errors.New("out of range")
	}
	return err
}

// wireRotation is the service's bookkeeping, read key by key.
type wireRotation Rotation

// unreadable stands for the parts of a claim that cannot be read: a refresh may be under way, and its lease is waited
// for.
const unreadable = "unreadable"

const bookkeeping = "must be what the service wrote: its next write puts it right"

// UnmarshalJSON implements json.Unmarshaler.
func (w *wireRotation) UnmarshalJSON(data []byte) error {
	var keys map[string]json.RawMessage
	if json.Unmarshal(unquoted(data), &keys) != nil {
		*w = wireRotation{Claim: &Claim{AttemptID: unreadable, Holder: unreadable}}
		return &Error{Key: "rotation", Rule: bookkeeping}
	}
	*w = wireRotation{}
	var wrong []string
	for _, f := range []field{
		{"format", &w.Format, ""},
		{"incarnation", &w.Incarnation, ""},
		{"generation", &w.Generation, ""},
		{"write_id", &w.WriteID, ""},
		{"writer", &w.Writer, ""},
		{"claim", &w.Claim, ""},
		{"last", &w.Last, ""},
		{"dead", &w.Dead, ""},
		{"resumed", &w.Resumed, ""},
		{"spent", &w.Spent, ""},
		{"rejected", &w.Rejected, ""},
	} {
		if raw, ok := keys[f.key]; ok {
			if _, _, bad := f.read(raw); bad {
				wrong = append(wrong, f.key)
			}
		}
	}
	switch c := w.Claim; {
	case slices.Contains(wrong, "claim"):
		w.Claim = &Claim{AttemptID: unreadable, Holder: unreadable}
	case c != nil && (c.AttemptID == "" || c.Holder == ""):
		wrong = append(wrong, "claim")
		for _, part := range []*string{&c.AttemptID, &c.Holder} {
			if *part == "" {
				*part = unreadable
			}
		}
	}
	switch {
	case w.Format > RotationFormat:
		return &Error{Key: "rotation.format", Rule: "was written by a newer tokenward: use that version"}
	case len(wrong) > 0 && wrong[0] == "format":
		return &Error{Key: "rotation", Rule: bookkeeping}
	case len(wrong) > 0:
		return &Error{Key: "rotation." + wrong[0], Rule: bookkeeping}
	}
	return nil
}
