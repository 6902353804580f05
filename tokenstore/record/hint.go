package record

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tokenward/tokenward/near"
)

// insteadOf are keys that people try, and what they are called in a record.
var insteadOf = map[string]string{
	"rpm": "limits.rpm", "concurrency": "limits.concurrency", "kind": "type", "token": "access_token or refresh_token",
	"private_key": "", // a later driver's
}

// meant is the key that was probably meant by one that no version knows; "" when there is no telling.
func meant(key string) string {
	if known, ok := insteadOf[near.Bare(key)]; ok {
		return known
	}
	if _, ok := insteadOf[key]; ok {
		return ""
	}
	var w wireRecord
	var names []string
	for _, f := range w.fields() {
		names = append(names, f.key)
	}
	return near.Word(key, names)
}

// Hints names the unknown keys of a record that look like slips of the pen. Others may be notes of the operator's.
func (r Record) Hints() []string { return hintsFor(r, "") }

// hintsFor is Hints for one key that may have been meant; "": any.
func hintsFor(r Record, wanted string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(r.Extra)) {
		if known := meant(key); known != "" && (wanted == "" || wanted == known) {
			out = append(out, fmt.Sprintf("key %s is not read: did you mean %s?", key, known))
		}
	}
	return out
}
