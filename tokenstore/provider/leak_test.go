package provider

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestNoErrorTextHoldsWhatWasPresented(t *testing.T) {
	var answer func(r *http.Request, body string) (int, string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status, text := answer(r, string(body))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	defer s.Close()
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	const values = "cs:p@ss%w rd+é rt/one+two== at&old\"one key<static>"
	echoes := map[string]func(r *http.Request, body string) (int, string){
		"the request's body": func(_ *http.Request, body string) (int, string) {
			return 400, `{"error":"invalid_grant","error_description":` + quote("you sent "+body) + `}`
		},
		"the values": func(*http.Request, string) (int, string) {
			return 400, `{"error":"invalid_grant","error_description":` + quote(values) + `}`
		},
		"the values across the cut at 256": func(*http.Request, string) (int, string) {
			return 400, `{"error":"invalid_grant","error_description":` + quote(strings.Repeat("x", 250)+values) + `}`
		},
		"the values as code": func(*http.Request, string) (int, string) { return 400, `{"error":` + quote(values) + `}` },
		"the authorization header": func(r *http.Request, _ string) (int, string) {
			return 401, `{"error":{"code":"x","message":` + quote(r.Header.Get("authorization")) + `}}`
		},
		"all of it, as a page": func(r *http.Request, body string) (int, string) {
			return 502, "<html>" + body + r.Header.Get("authorization") + values
		},
	}
	pair := "client%2F1:cs%3Ap%40ss%25w+rd%2B%C3%A9"
	leaks := []string{"cs:p@ss", "rt/one", "at&old", "key<st", "rt%2Fone", "cs%3Ap", base64.StdEncoding.EncodeToString([]byte(pair))[:24], `at&old\"one`}
	for name, echo := range echoes {
		for _, style := range []string{"params", "header"} {
			for _, kind := range []string{"form", "json"} {
				t.Run(name+" "+style+" "+kind, func(t *testing.T) {
					answer = echo
					d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL, AuthStyle: style, Body: kind})
					_, e := redeem(t, d, fullRecord())
					if e == nil {
						t.Fatal("refreshed")
					}
					for _, leak := range leaks {
						if text := fmt.Sprintf("%v %+v", e, *e); strings.Contains(text, leak) {
							t.Errorf("%q is in %q", leak, text)
						}
					}
				})
			}
		}
	}
}

func TestEverySpellingOfASecretIsTakenOut(t *testing.T) {
	r := tokenstore.Record{
		ClientID:     "c",
		ClientSecret: tokenstore.NewSecret(`a"b&c`),
		RefreshToken: tokenstore.NewSecret(`a"b&c-and-more`),
	}
	got := clean(`a"b&c-and-more a%22b%26c a\"b\u0026c-and-more YyVhOmE= `+base64.StdEncoding.EncodeToString([]byte("c:a%22b%26c")), r)
	if want := "[redacted] [redacted] [redacted] YyVhOmE= [redacted]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
