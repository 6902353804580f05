package provider

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestATokenEndpointIsKnownByAnyAnswerThatOneGives(t *testing.T) {
	for name, c := range map[string]struct {
		head, post int
		asked      []string
		says       string // "": reached
	}{
		"takes POST alone":              {405, 0, []string{"HEAD"}, ""},
		"asks for credentials":          {401, 0, []string{"HEAD"}, ""},
		"is there for POST alone":       {404, 400, []string{"HEAD", "POST"}, ""},
		"redirects browsers":            {302, 400, []string{"HEAD", "POST"}, ""},
		"is down":                       {503, 503, []string{"HEAD", "POST"}, ""},
		"knows no HEAD":                 {501, 400, []string{"HEAD", "POST"}, ""},
		"takes no POST":                 {404, 405, []string{"HEAD", "POST"}, "answers 405: what is there takes no POST"},
		"serves files":                  {404, 501, []string{"HEAD", "POST"}, "answers 501: what is there takes no POST"},
		"is not there":                  {404, 404, []string{"HEAD", "POST"}, "answers 404: there is nothing at this URL: correct token_url"},
		"is gone":                       {410, 410, []string{"HEAD", "POST"}, "answers 410"},
		"is elsewhere, or without TLS":  {301, 301, []string{"HEAD", "POST"}, "answers 301: a grant does not follow redirects"},
		"is elsewhere, and says so (8)": {308, 308, []string{"HEAD", "POST"}, "answers 308"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method)
				if r.Header.Get("Authorization") != "" || r.ContentLength > 0 {
					t.Error("it got more than a question")
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(map[string]int{http.MethodHead: c.head, http.MethodPost: c.post}[r.Method])
			}))
			defer s.Close()
			got := Reach(t.Context(), "my-idp", Settings{Driver: driverOAuth2, TokenURL: s.URL})
			if len(got) != 1 || got[0].URL != s.URL || (got[0].Err == nil) != (c.says == "") {
				t.Fatalf("got %+v", got)
			}
			if got[0].Err != nil &&
				(!strings.Contains(got[0].Err.Error(), c.says) || !strings.Contains(got[0].Err.Error(), "my-idp")) {
				t.Errorf("it says %v", got[0].Err)
			}
			if !slices.Equal(asked, c.asked) {
				t.Errorf("asked with %v", asked)
			}
		})
	}
}

func TestATokenEndpointThatRefusesConnectionsIsNamedWithItsProvider(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	got := Reach(t.Context(), "my-idp", Settings{Driver: driverOAuth2, TokenURL: s.URL + "/token"})
	if len(got) != 1 || got[0].Status != 0 {
		t.Fatalf("got %+v", got)
	}
	if said := got[0].Err.Error(); !strings.Contains(said, "my-idp") || !strings.Contains(said, s.URL) ||
		!strings.Contains(said, "check token_url") {
		t.Errorf("got %s", said)
	}
}

func TestTheDriversOwnTokenEndpointsAreReachedToo(t *testing.T) {
	if got := tokenURLs(Settings{Driver: driverAnthropic}); len(got) != 2 {
		t.Errorf("anthropic has %v", got)
	}
	if got := tokenURLs(Settings{Driver: driverAPIKey}); got != nil {
		t.Errorf("api_key has %v", got)
	}
}
