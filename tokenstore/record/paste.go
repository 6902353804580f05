package record

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Grammar says what a kind of secret may be made of.
type Grammar uint8

// Grammars. All but client secrets exclude spaces: RFC 6749 A.17 would allow them in a refresh token, no server issues
// such a one, and a copy that was wrapped or cut has them.
const (
	RefreshTokenText Grammar = iota + 1 // printable ASCII without spaces
	AccessTokenText                     // the same: it goes into a request header
	APIKeyText                          // the same
	ClientSecretText                    // printable ASCII (RFC 6749 A.2)
)

// value is what a JSON document calls a secret of this kind.
func (g Grammar) value() string {
	switch g {
	case RefreshTokenText:
		return "refreshToken (refresh_token)"
	case AccessTokenText:
		return "accessToken (access_token)"
	case APIKeyText:
		return "the key"
	case ClientSecretText:
		return "client_secret"
	}
	return "it"
}

// longestSecret is in bytes; real ones have a few KiB at most.
const longestSecret = 16 << 10

// ReadSecret takes a secret from what somebody pasted, saved or exported: white space and byte order marks at its ends
// are no part of it. flaw says what is wrong with it and what to do, to be put behind the secret's name; "": nothing.
// It never tells the value.
func ReadSecret(data []byte, g Grammar) (s Secret, flaw string) {
	text := trimSecret(string(data))
	return NewSecret(text), flawOf(text, g)
}

// trimSecret drops what editors and shells put around a secret; no credential has blanks at its ends.
func trimSecret(s string) string {
	return strings.TrimFunc(s, func(c rune) bool { return unicode.IsSpace(c) || c == '\ufeff' })
}

var (
	scheme     = regexp.MustCompile(`^(?i)(authorization\s*:|(bearer|basic|token)[\s\pZ])`)
	assignment = regexp.MustCompile(
		`^(?i)(export\s+)?[a-z0-9_.-]*(refresh_?token|access_?token|client_?secret|api_?key)\s*[=:]`,
	)
	masked = regexp.MustCompile(`^(\*+|•+|\[?redacted\]?|<[^<>]*>)$`)
)

// flawOf says what is wrong with a secret, the most telling first; "": nothing. Pure.
func flawOf(t string, g Grammar) string {
	isJSON := strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[{") || strings.HasPrefix(t, `["`)
	if g == ClientSecretText {
		isJSON = isJSON && json.Valid([]byte(t))
	}
	switch {
	case t == "":
		return "is empty: give one line that is not empty"
	case wide(t):
		return "is UTF-16, as some Windows programs save text: save it as UTF-8"
	case isJSON && strings.Contains(t, "claudeAiOauth"):
		return "is a JSON document, Claude Code's credentials: use tokenward accounts import --from claude, or give only " +
			"the value of " + g.value()
	case isJSON:
		return "is a JSON document: give only the value of " + g.value() + " in it, without quotes"
	case strings.Contains(t, "-----BEGIN"):
		return "is a PEM document, a key or a certificate: give the secret itself"
	case strings.ContainsAny(t, "\r\n\v\f\u0085\u2028\u2029"):
		return "has several lines: it must be one line that is not empty"
	case masked.MatchString(strings.ToLower(t)):
		return "is a mask or a placeholder, not the value: copy it from where it was issued"
	case quoted(t, g):
		return "has quotes around it: give the value without them"
	case scheme.MatchString(t) && g != ClientSecretText,
		g == ClientSecretText && strings.HasPrefix(strings.ToLower(t), "bearer "):
		return "begins with the name of a header or an authentication scheme, such as Bearer: give only what follows it"
	case assignment.MatchString(t):
		return "is a line with a name and a value: give only the value"
	case len(t) > longestSecret && (g == RefreshTokenText || g == ClientSecretText):
		// for the others a driver's Check knows
		return fmt.Sprintf("is longer than %d KiB: this is no such secret", longestSecret>>10)
	case !utf8.ValidString(t) || strings.ContainsRune(t, utf8.RuneError):
		return "holds bytes that are no text: copy it again from where it was issued"
	}
	for _, c := range t {
		switch {
		case c == ' ' && g == ClientSecretText:
		case unicode.Is(unicode.Cf, c), c == '\u034f', c == '\u115f', c == '\u3164':
			return fmt.Sprintf("holds an invisible character (%U): copy it again from where it was issued", c)
		case unicode.IsSpace(c):
			return "has white space inside: it was wrapped, cut, or is more than the secret: copy it again in one piece"
		case unicode.IsControl(c):
			return fmt.Sprintf("holds a control character (%U): copy it again from where it was issued", c)
		case c > '~':
			return fmt.Sprintf("holds a character (%U) that is not printable ASCII: copy it again from where it was issued", c)
		}
	}
	return ""
}

// wide reports text of two or four bytes a character. A byte order mark in it may have become replacement characters on
// the way.
func wide(t string) bool {
	zeros := strings.Count(t, "\x00")
	return strings.HasPrefix(t, "\xff\xfe") || strings.HasPrefix(t, "\xfe\xff") ||
		zeros > 1 && zeros*3 >= utf8.RuneCountInString(t)
}

// quoted reports quotes around a secret, or the rest of some. A client secret may have one at either end.
func quoted(t string, g Grammar) bool {
	const ascii, fancy = "\"'`", "“”„‘’«»"
	first, _ := utf8.DecodeRuneInString(t)
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(t, ",;"))
	if strings.ContainsRune(fancy, first) || strings.ContainsRune(fancy, last) {
		return true
	}
	opens, closes := strings.ContainsRune(ascii, first), strings.ContainsRune(ascii, last)
	if g == ClientSecretText {
		return opens && first == last && len(t) > 1
	}
	return opens || closes
}

// Flaw says which secret of a record cannot be one, as a *Error; nil: none. The account's access token is not
// among them: a driver's Check knows what it can send.
func Flaw(r Record) error {
	flaw := func(key, rule string) error {
		if rule == "" {
			return nil
		}
		return &Error{Key: key, Rule: rule}
	}
	if !r.RefreshToken.IsZero() && r.Kind.Refreshes() {
		if err := flaw("refresh_token", r.RefreshToken.flaw(RefreshTokenText)); err != nil {
			return err
		}
		if r.RefreshToken.Equal(r.AccessToken) {
			return flaw("refresh_token", "is the account's access token: give the refresh token")
		}
	}
	switch {
	case r.Kind == KindAPIKey && !r.APIKey.IsZero():
		return flaw("api_key", r.APIKey.flaw(APIKeyText))
	case r.Kind != KindAPIKey && !r.ClientSecret.IsZero():
		return flaw("client_secret", r.ClientSecret.flaw(ClientSecretText))
	}
	return nil
}

// Refreshes reports whether accounts of this kind get their access tokens with a refresh token. So do the kinds that a
// driver brings along.
func (k Kind) Refreshes() bool { return k != "" && k != KindClientCredentials && k != KindAPIKey }
