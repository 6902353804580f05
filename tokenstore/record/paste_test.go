package record

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// Every kind of slip by which something else than a refresh token comes where one is wanted.
func TestWhatIsPastedForARefreshTokenIsTakenOrRefusedWithTheRemedy(t *testing.T) {
	const rt = "rt-Planted_1234~+/.=:"
	wide := func(order binary.ByteOrder, mark bool, s string) string {
		units := utf16.Encode([]rune(s))
		if mark {
			units = append([]uint16{0xfeff}, units...)
		}
		out := make([]byte, 2*len(units))
		for i, u := range units {
			order.PutUint16(out[2*i:], u)
		}
		return string(out)
	}
	for paste, says := range map[string]string{
		rt:                            "",
		rt + "\r\n":                   "",
		" \t" + rt + "\n\n":           "",
		"\ufeff" + rt + "\r\n":        "",
		"\n\ufeff" + rt:               "",
		strings.Repeat("x", 16<<10):   "",
		"1//0abc-def":                 "",
		"":                            "is empty",
		"\ufeff\r\n":                  "is empty",
		strings.Repeat("x", 16<<10+1): "is longer than 16 KiB",
		wide(binary.LittleEndian, true, rt+"\r\n"):                            "is UTF-16",
		wide(binary.BigEndian, true, rt):                                      "is UTF-16",
		wide(binary.LittleEndian, false, rt):                                  "is UTF-16",
		wide(binary.BigEndian, false, rt):                                     "is UTF-16",
		"\ufffd\ufffdr\x00t\x00-\x00a\x00":                                    "is UTF-16", // what the vault command makes of it
		`{"claudeAiOauth":{"refreshToken":"` + rt + `"}}`:                     "accounts import --from claude",
		"{\n  \"claudeAiOauth\": {\n    \"refreshToken\": \"" + rt + "\"\n}}": "accounts import --from claude",
		`{"refresh_token":"` + rt + `"}`:                                      "is a JSON document: give only the value of refreshToken",
		`{"refresh_token":"` + rt:                                             "is a JSON document",
		`["` + rt + `"]`:                                                      "is a JSON document",
		`"` + rt + `"`:                                                        "has quotes around it",
		"'" + rt + "'":                                                        "has quotes around it",
		"`" + rt + "`":                                                        "has quotes around it",
		"“" + rt + "”":                                                        "has quotes around it",
		`"` + rt + `",`:                                                       "has quotes around it",
		`"refreshToken":"` + rt + `",`:                                        "has quotes around it",
		rt + `"`:                                                              "has quotes around it",
		"Bearer " + rt:                                                        "such as Bearer",
		"bearer\u00a0" + rt:                                                   "such as Bearer",
		"Authorization: Bearer " + rt:                                         "such as Bearer",
		"refresh_token=" + rt:                                                 "a name and a value",
		"export CLAUDE_REFRESH_TOKEN=" + rt:                                   "a name and a value",
		"refreshToken: " + rt:                                                 "a name and a value",
		rt[:6] + " " + rt[6:]:                                                 "white space inside",
		rt[:6] + "\t" + rt[6:]:                                                "white space inside",
		rt[:6] + "\u00a0" + rt[6:]:                                            "white space inside",
		rt + "\n" + rt:                                                        "has several lines",
		rt[:6] + "\r\n" + rt[6:]:                                              "has several lines",
		rt[:6] + "\u200b" + rt[6:]:                                            "an invisible character (U+200B)",
		rt + "\u200b":                                                         "an invisible character (U+200B)",
		rt[:6] + "\ufeff" + rt[6:]:                                            "an invisible character (U+FEFF)",
		"\u2060" + rt:                                                         "an invisible character (U+2060)",
		rt[:6] + "\u00ad" + rt[6:]:                                            "an invisible character (U+00AD)",
		rt[:6] + "\x00" + rt[6:]:                                              "a control character (U+0000)",
		rt[:6] + "\x1b[0m" + rt[6:]:                                           "a control character (U+001B)",
		rt[:6] + "\x7f" + rt[6:]:                                              "a control character (U+007F)",
		rt[:6] + "…":                                                          "not printable ASCII",
		rt[:6] + "é" + rt[6:]:                                                 "not printable ASCII",
		rt[:6] + "\xff" + rt[6:]:                                              "bytes that are no text",
		"-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----": "is a PEM document",
		"[redacted]":      "is a mask",
		"********":        "is a mask",
		"<refresh token>": "is a mask or a placeholder",
	} {
		s, flaw := ReadSecret([]byte(paste), RefreshTokenText)
		if says == "" && flaw != "" || says != "" && !strings.Contains(flaw, says) {
			t.Errorf("%q: %q, want %q", paste, flaw, says)
		}
		if strings.Contains(flaw, "Planted") {
			t.Errorf("%q: the value is told: %s", paste, flaw)
		}
		if says == "" && s.Reveal() != strings.Trim(paste, " \t\r\n\ufeff") {
			t.Errorf("%q became %q", paste, s.Reveal())
		}
		// what comes from a store has the same rule
		if got := NewSecret(trimSecret(paste)).flaw(RefreshTokenText); got != flaw {
			t.Errorf("%q from a store: %q", paste, got)
		}
	}
}

func FuzzReadSecret(f *testing.F) {
	for _, seed := range []string{"rt-abc", "\ufeffrt", `{"a":"b"}`, "Bearer x", "r\x00t\x00", "“x”", "", "a b", "\xff\xfe"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, g := range []Grammar{RefreshTokenText, AccessTokenText, APIKeyText, ClientSecretText} {
			s, flaw := ReadSecret(data, g)
			if v := s.Reveal(); flaw == "" && (v == "" || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' || c == ' ' && g != ClientSecretText })) {
				t.Errorf("%q is taken", v)
			}
			if again := s.flaw(g); again != flaw && !s.IsZero() && !strings.Contains(flaw, "UTF-16") {
				t.Errorf("%q: %q, then %q", data, flaw, again)
			}
		}
	})
}

func TestAClientSecretMayBeWhatItsGrammarAllows(t *testing.T) {
	for paste, says := range map[string]string{
		"a secret with spaces": "", `it's "quoted" inside`: "", "{brace": "", "key=value": "", "'": "", "~!@#$%^&*()": "",
		`{"web":{"client_secret":"x"}}`: "is a JSON document", `"secret"`: "quotes", "Bearer x": "Bearer", "s\u200bx": "invisible", "s\x00x": "control", "sé": "not printable ASCII",
		"client_secret=abc": "a name and a value", "a\nb": "several lines",
	} {
		if _, flaw := ReadSecret([]byte(paste), ClientSecretText); says == "" && flaw != "" || !strings.Contains(flaw, says) {
			t.Errorf("%q: %q, want %q", paste, flaw, says)
		}
	}
}

func TestARecordsFlawNamesItsKey(t *testing.T) {
	for name, c := range map[string]struct {
		r   Record
		key string
	}{
		"good":                          {Record{Kind: KindOAuthRefresh, RefreshToken: NewSecret("rt"), ClientSecret: NewSecret("a b")}, ""},
		"refresh token":                 {Record{Kind: KindOAuthRefresh, RefreshToken: NewSecret("a b")}, "refresh_token"},
		"the access token twice":        {Record{Kind: KindClaudeCode, RefreshToken: NewSecret("at"), AccessToken: NewSecret("at")}, "refresh_token"},
		"client secret":                 {Record{Kind: KindClientCredentials, ClientSecret: NewSecret("a\x00b")}, "client_secret"},
		"key":                           {Record{Kind: KindAPIKey, APIKey: NewSecret(`"sk"`)}, "api_key"},
		"of a driver's own type":        {Record{Kind: "ACME_LOGIN", RefreshToken: NewSecret("a b")}, "refresh_token"},
		"a refresh token that is idle":  {Record{Kind: KindAPIKey, APIKey: NewSecret("sk"), RefreshToken: NewSecret("a b")}, ""},
		"nothing, and so nothing wrong": {Record{Kind: KindOAuthRefresh}, ""},
	} {
		var got string
		if err, ok := Flaw(c.r).(*Error); ok { //nolint:errorlint // it is that type
			got = err.Key
		}
		if got != c.key {
			t.Errorf("%s: key %q, want %q", name, got, c.key)
		}
	}
}
