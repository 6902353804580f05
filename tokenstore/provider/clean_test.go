package provider

import (
	"strings"
	"testing"
	"unicode"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestWordsOfATokenEndpointSteerNeitherTerminalNorReader(t *testing.T) {
	for name, words := range map[string]string{
		"C0": "a\x1b[31mb\x07", "DEL": "a\x7fb", "C1": "a\u009b31mb", "lines": "a\r\nb\u2028c\u2029d", "direction": "a\u202eb\u2066c\u200fd", "no width": "a\u200bb\ufeffc",
	} {
		got := clean(words, tokenstore.Record{})
		if strings.ContainsFunc(got, func(c rune) bool {
			return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}) {
			t.Errorf("%s: %q", name, got)
		}
		if !strings.HasPrefix(got, "a") || !strings.ContainsAny(got, "bcd") {
			t.Errorf("%s: the words are lost: %q", name, got)
		}
	}
}
