package extproc

import (
	"strings"
	"testing"
)

func testScrub() *scrub {
	return newScrub([]string{"key", "api-key", "apikey", "access-token"}, []string{"openai-insecure-api-key.", "token"})
}

func TestCredentialsAreCutOutOfAQuery(t *testing.T) {
	s := testScrub()
	for path, want := range map[string]string{
		"/a":                               "/a",
		"/a?":                              "/a?",
		"/a?b":                             "/a?b",
		"/a?&&b=&":                         "/a?&&b=&",
		"/a?key=S":                         "/a",
		"/a?key":                           "/a",
		"/a?key=":                          "/a",
		"/a?key=S&":                        "/a?",
		"/a?&key=S":                        "/a?",
		"/a?b=1&key=S":                     "/a?b=1",
		"/a?key=S&b=1":                     "/a?b=1",
		"/a?b=1&key=S&c=2":                 "/a?b=1&c=2",
		"/a?key=S&key=T&api_key=U":         "/a",
		"/a?b=1;key=S&c=2;api-key=T":       "/a?b=1&c=2",
		"/a?key=S;b=1":                     "/a?b=1",
		"/a?KEY=S&Api-Key=S&b":             "/a?b",
		"/a?%6Bey=S&k%65Y=T&%6b%65%79=U&b": "/a?b",
		"/a?api%5Fkey=S&api%2dkey=T&b":     "/a?b",
		"/a?+key=S&%20key%20=T&key%00=U&b": "/a?b",
		"/a?$key=S&%24key=T&b":             "/a?b",
		"/a?$skip=1&a$key=2&$=3":           "/a?$skip=1&a$key=2&$=3",
		"/a?keys=1&mykey=2&key[]=3&ke=4":   "/a?keys=1&mykey=2&key[]=3&ke=4",
		"/a?b=key=S&c=%26key=T":            "/a?b=key=S&c=%26key=T",
		"/a?%256Bey=1&%zz=2&%=3&%6=4":      "/a?%256Bey=1&%zz=2&%=3&%6=4",
		"/key=S;api_key=S":                 "/key=S;api_key=S",
		"/a?" + strings.Repeat("k", 9000):  "/a?" + strings.Repeat("k", 9000),
	} {
		if got := s.path(path); got != want {
			t.Errorf("%.80q: got %.80q, want %.80q", path, got, want)
		}
	}
}

func TestAPathWithoutCredentialsCostsNothing(t *testing.T) {
	s := testScrub()
	if n := testing.AllocsPerRun(100, func() { _ = s.path("/v1/messages") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzOnlyWholePairsAreCutOut: what stays is a part of what came, a second pass finds nothing, and the path is the
// same.
func FuzzOnlyWholePairsAreCutOut(f *testing.F) {
	for _, p := range []string{"/a?b=1&key=S;c", "/?%6bey", "?&;&key", "/a?$api_key=%&x"} {
		f.Add(p)
	}
	s := testScrub()
	f.Fuzz(func(t *testing.T, path string) {
		got := s.path(path)
		before, query, _ := strings.Cut(path, "?")
		rest, kept, _ := strings.Cut(got, "?")
		if before != rest || s.path(got) != got || len(got) > len(path) {
			t.Fatalf("%q became %q", path, got)
		}
		split := func(q string) []string {
			return strings.FieldsFunc(q, func(r rune) bool { return r == '&' || r == ';' })
		}
		in := split(query)
		for _, pair := range split(kept) {
			for len(in) > 0 && in[0] != pair {
				in = in[1:]
			}
			if len(in) == 0 {
				t.Fatalf("%q became %q: %q is new or moved", path, got, pair)
			}
			in = in[1:]
		}
	})
}

func TestKeysAreTakenOutOfTheOfferedSubprotocols(t *testing.T) {
	s := testScrub()
	for list, want := range map[string]string{
		"":     "",
		"chat": "chat",
		"realtime, openai-insecure-api-key.S, openai-beta.realtime-v1": "realtime, openai-beta.realtime-v1",
		"OpenAI-Insecure-API-Key.S,chat":                               "chat",
		"token, S":                                                     "",
		"token,S,chat":                                                 "chat",
		"chat,Token , S":                                               "chat",
		"token,token,chat":                                             "chat",
		"tokens, b":                                                    "tokens, b",
	} {
		if got := s.offered(list); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}
