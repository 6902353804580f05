package record

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const redacted = "[redacted]"

// Secret is a value that must never be shown: a token, a client secret, a key. Every formatter, JSON and text
// encoder prints a fixed mask instead. The bytes sit behind a pointer, because fmt does not call methods on
// unexported fields and would print them through %+v of a struct. The zero value is the absent secret.
type Secret struct{ value *string }

// NewSecret wraps s; an empty string gives the absent secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{value: &s}
}

// Reveal returns the value, "" when absent. Callers are counted and linted: see .golangci.yml.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is absent.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal compares two secrets in time that does not depend on their contents.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// flaw says what is wrong with the secret, "" if nothing is.
func (s Secret) flaw(g Grammar) string { return flawOf(s.Reveal(), g) }

func (s Secret) mask() string {
	if s.value == nil {
		return ""
	}
	return redacted
}

// String returns the mask, or "" when absent.
func (s Secret) String() string { return s.mask() }

// GoString returns the mask.
func (s Secret) GoString() string { return "Secret(" + s.mask() + ")" }

// Format prints the mask for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.mask())) }

// MarshalText returns the mask. Records are stored by [Encode], which reveals on purpose.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.mask()), nil }

// shortestEcho is how many characters of a token count as an echo of it.
const shortestEcho = 8

// RedactCut takes a secret out of a text that may echo it, also where the text was cut within it. Secrets of fewer than
// 8 characters are left: they are part of everything.
func RedactCut(text, secret string) string {
	if text == "" || len(secret) < shortestEcho {
		return text
	}
	text = strings.ReplaceAll(text, secret, redacted)
	bare := strings.TrimRight(text, ".…")
	for n := len(secret) - 1; n >= shortestEcho; n-- {
		if before, found := strings.CutSuffix(bare, secret[:n]); found {
			return before + redacted
		}
	}
	return text
}

// Redact takes a secret out of a text that may echo it; one of fewer than 8 characters only where it stands as a word
// of its own, since a letter or two are part of everything.
func Redact(text, secret string) string {
	switch {
	case secret == "":
		return text
	case len(secret) >= shortestEcho:
		return strings.ReplaceAll(text, secret, redacted)
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, secret)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		left, _ := utf8.DecodeLastRuneInString(out.String())
		right, _ := utf8.DecodeRuneInString(after)
		if inWord(left) || inWord(right) {
			out.WriteString(secret)
		} else {
			out.WriteString(redacted)
		}
		text = after
	}
}

func inWord(r rune) bool { return r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// Fingerprint is the only form of a secret that may leave the process: the first 64 bits, in hex, of an HMAC-SHA-256
// keyed with the account's id, so that it is stable across processes and equal secrets of two accounts look
// different. It is meant for high-entropy values (tokens, generated keys); "" for an absent secret.
func Fingerprint(id ID, s Secret) string {
	if s.IsZero() {
		return ""
	}
	mac := hmac.New(sha256.New, []byte("tokenward fingerprint v1:"+string(id)))
	mac.Write([]byte(s.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
