package envoy

import (
	"regexp"
	"strings"
	"unicode"
)

// Envoy's log may hold our tokens: at its debug levels, where it prints headers, and in what it says when it crashes.

// quieter is what of Envoy's log we pass on, line by line.
type quieter struct{ hidden bool } // the message that goes on is one of the debug levels

var (
	// logPrefix begins a message; further lines of it have none.
	logPrefix = regexp.MustCompile(`^\[[^\]]*\]\[\d+\]\[([a-z]+)\]`)
	// named is the rest of a line after the name of something secret.
	named = regexp.MustCompile(
		`(?i)((?:^|[^\w./-])[\w-]*(?:authorization|auth|cookie2?|key|token|secret|password|passwd|assertion|` +
			`credentials?|signature|session|jwt|raw_value))(["']?(?:\s*[:=,]|\s+["'])\s*)\S.*`,
	)
	// scheme is a credential after its scheme (RFC 9110 section 11.4).
	scheme = regexp.MustCompile(`(?i)\b(bearer|basic|dpop|negotiate)(\s+|%20|\+)[\w.~+/%=-]{6,}`)
	// shaped begins like the tokens of the known makers, or is a JWT.
	shaped = regexp.MustCompile(`\b(?:(?:sk|rk|pk|xai|gsk|hf|gh[opsur]|glpat|github_pat|xox[abeprs]|hvs|hvb|pplx)[-_.]|` +
		`ya29\.|1//|AIza|AKIA|eyJ)[\w.~+/=-]{8,}`)
	// long is anything else that is long enough for a token.
	long = regexp.MustCompile(`[\w~+-]{32,}=*`)
)

const hiddenValue = "[hidden]"

// line returns what may be shown of a line, and whether anything may.
func (q *quieter) line(line string) (string, bool) {
	if m := logPrefix.FindStringSubmatch(line); m != nil {
		q.hidden = m[1] == "debug" || m[1] == "trace"
	}
	if q.hidden {
		return "", false
	}
	return mask(line), true
}

// mask hides what is or may be a credential.
func mask(line string) string {
	line = named.ReplaceAllString(line, "$1$2"+hiddenValue)
	line = scheme.ReplaceAllString(line, "$1 "+hiddenValue)
	line = shaped.ReplaceAllString(line, hiddenValue)
	return long.ReplaceAllStringFunc(line, func(word string) string {
		if random(word) {
			return hiddenValue
		}
		return word
	})
}

// random reports a word that nobody has written: with letters of both cases and digits.
func random(word string) bool {
	return strings.ContainsFunc(word, unicode.IsDigit) && strings.ContainsFunc(word, unicode.IsUpper) &&
		strings.ContainsFunc(word, unicode.IsLower)
}
