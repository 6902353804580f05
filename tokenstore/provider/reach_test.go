package provider

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestATokenEndpointThatAnswersAnythingIsReachedAndGetsNoCredential(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusMethodNotAllowed)
	}))
	defer s.Close()
	if err := Reach(t.Context(), "p", Settings{Driver: driverOAuth2, TokenURL: s.URL}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(got, []string{"HEAD "}) {
		t.Errorf("it saw %q", got)
	}
}

func TestATokenEndpointThatRefusesConnectionsIsNamedWithItsProvider(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	err := Reach(t.Context(), "my-idp", Settings{Driver: driverOAuth2, TokenURL: s.URL + "/token"})
	if err == nil || !strings.Contains(err.Error(), "my-idp") || !strings.Contains(err.Error(), s.URL) || !strings.Contains(err.Error(), "check token_url") {
		t.Errorf("got %v", err)
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
