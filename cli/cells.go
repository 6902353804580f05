package cli

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
)

// row writes a line of a table. Cells hold what records and providers say: it may neither steer the terminal nor forge
// a row.
func row(w io.Writer, cells ...any) {
	shown := make([]string, len(cells))
	for i, c := range cells {
		if p, ok := c.(painted); ok {
			shown[i] = string(p)
			continue
		}
		shown[i] = strings.NewReplacer("\t", `\t`, "\n", `\n`).Replace(Clean(fmt.Sprint(c)))
	}
	fmt.Fprintln(w, strings.Join(shown, "\t"))
}

// painted is a cell with colours of our own.
type painted string

// Clean makes text harmless to a terminal: control characters, C0 but for tab and line feed, DEL and C1, and marks that
// reorder or hide text are shown as escapes.
func Clean(s string) string {
	if !strings.ContainsFunc(s, steers) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !steers(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// steers reports a character that a terminal obeys instead of showing it: controls, format characters such as those for
// bidirectional text and of no width, and line separators.
func steers(r rune) bool {
	if ' ' <= r && r < 0x7f {
		return false
	}
	return r != '\t' && r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// CleanJSON escapes in JSON what the encoder leaves as it is and a terminal would obey.
func CleanJSON(data []byte) []byte {
	if !bytes.ContainsFunc(data, steers) {
		return data
	}
	var b strings.Builder
	for _, r := range string(data) {
		switch {
		case !steers(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		}
	}
	return []byte(b.String())
}

// withConfig makes the commands in a sentence those of this configuration file: they are meant to be pasted.
func (a *app) withConfig(advice string) string {
	if a.config == "" {
		return advice
	}
	parts := strings.Split(advice, "`")
	for i := 1; i+1 < len(parts); i += 2 { // the odd ones are between backticks
		if cmd, names, dashes := strings.Cut(parts[i], " -- "); strings.HasPrefix(cmd, "tokenward ") {
			parts[i] = cmd + " -c " + quoted(a.config)
			if dashes {
				parts[i] += " -- " + names
			}
		}
	}
	return strings.Join(parts, "`")
}

var needsNoQuotes = regexp.MustCompile(`^[A-Za-z0-9_./~+:@-]+$`)

// quoted is a word for a shell.
func quoted(s string) string {
	if needsNoQuotes.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
