package record

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Nearest returns the name that was probably meant by word: one that differs in case and punctuation only, or in a few
// letters; "" when none is near.
func Nearest(word string, names []string) string {
	best, least := "", (len(plain(word))+1)/3+1 // about one letter in three may be wrong
	for _, name := range names {
		if d := distance(plain(word), plain(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

// plain is a name without what conventions differ in: refreshToken and refresh-token are refreshtoken.
func plain(name string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(name))
}

// distance is Levenshtein's: the letters to insert, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// insteadOf are keys that people try, and what they are called in a record.
var insteadOf = map[string]string{
	"rpm": "limits.rpm", "concurrency": "limits.concurrency", "kind": "type", "token": "access_token or refresh_token",
	"private_key": "", // a later driver's
}

// meant is the key that was probably meant by one that no version knows; "" when there is no telling.
func meant(key string) string {
	if known, ok := insteadOf[plain(key)]; ok {
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
	return Nearest(key, names)
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
