package provider

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// rule is one row of a table: what an answer must be, and what that means. Rows are tried in order, the first that fits
// counts.
type rule[M any] struct {
	when
	means  M
	source string // where it is said: a page's title, a section of an RFC, a recorded answer; or unsourced
}

// unsourced marks words for which no page was found.
const unsourced = "no page found"

// when are the conditions of a row. All that are given must hold.
type when struct {
	status      []int          // the status is one of these
	from, below int            // the status is at least from, and less than below; 0: no bound
	challenge   string         // error of a Bearer challenge (RFC 6750 section 3)
	code        words          // the error's code, or its type where it has no code
	word        words          // its code or its type
	text        sentences      // the whole message
	like        *regexp.Regexp // the message holds it; what a client wrote may be in there
	unlike      *regexp.Regexp // the message does not hold it
	page        bool           // a page instead of an error object
	exact       exact          // the code, spelt like this but for case, and - for _

	// Of token endpoints alone.
	noCode  bool           // there is no code
	foreign bool           // there is an error, and it is no text under `error`, where RFC 6749 section 5.2 has it
	body    *regexp.Regexp // the body holds it
}

// evidence is what an answer says, prepared for rows.
type evidence struct {
	status    int
	challenge string
	code      string // as words has it
	kind      string // likewise
	sentence  string // as sentences has it
	message   string
	page      bool
	exact     string // as exact has it

	foreign bool
	body    []byte
}

// meaning is what the first row that fits says. The last row stands for all that no other fits.
func meaning[M any](rows []rule[M], e *evidence) M {
	last := len(rows) - 1
	for i := range rows[:last] {
		if rows[i].fits(e) {
			return rows[i].means
		}
	}
	return rows[last].means
}

func (w *when) fits(e *evidence) bool {
	switch {
	case w.status != nil && !slices.Contains(w.status, e.status),
		e.status < w.from, w.below != 0 && e.status >= w.below:
		return false
	case w.challenge != "" && w.challenge != e.challenge,
		w.code != nil && !w.code[cmp.Or(e.code, e.kind)],
		w.word != nil && !w.word[e.code] && !w.word[e.kind],
		w.text != nil && !w.text[e.sentence]:
		return false
	case w.page && !e.page,
		w.like != nil && !w.like.MatchString(e.message),
		w.unlike != nil && w.unlike.MatchString(e.message):
		return false
	case w.exact != nil && !slices.Contains(w.exact, e.exact),
		w.noCode && e.exact != "",
		w.foreign && !e.foreign,
		w.body != nil && !w.body.Match(e.body):
		return false
	}
	return true
}

// words are codes or types, found however they are written: token_expired, TokenExpired, TOKEN-EXPIRED.
type words map[string]bool

func codes(list ...string) words {
	out := words{}
	for _, w := range list {
		out[plain(w)] = true
	}
	return out
}

var joints = strings.NewReplacer("_", "", "-", "", " ", "")

func plain(word string) string { return strings.ToLower(joints.Replace(word)) }

// exact are codes in lower case, with _.
type exact []string

func exactly(code string) string { return strings.ToLower(strings.ReplaceAll(code, "-", "_")) }

// sentences are whole messages, whatever their case and the mark at their end. Only these count against an account: a
// part of a message may be the client's own words.
type sentences map[string]bool

func says(list ...string) sentences {
	out := sentences{}
	for _, s := range list {
		out[sentence(s)] = true
	}
	return out
}

func sentence(message string) string {
	return strings.ToLower(strings.TrimRight(strings.TrimSpace(message), ".! "))
}
