package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// endless is how a test endpoint says that its answer shall never end.
const endless = "endless"

// issuer is a token endpoint: it answers the nth grant with the nth text, and keeps the refresh tokens that it was
// shown.
func issuer(t *testing.T, answers ...string) (at string, shown chan string) {
	t.Helper()
	shown = make(chan string, len(answers))
	next := make(chan string, len(answers))
	for _, a := range answers {
		next <- a
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		shown <- form.Get("refresh_token")
		switch answer := <-next; answer {
		case endless:
			_, _ = io.WriteString(w, `{"access_token":"`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, answer)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, shown
}

// nextOf is what was presented next; "": no more.
func nextOf(shown chan string) string {
	select {
	case s := <-shown:
		return s
	default:
		return ""
	}
}

// twoAccounts are a backend with the account of a test and another one.
func twoAccounts(t *testing.T) *tokenstoretest.Memory {
	t.Helper()
	m := tokenstoretest.NewMemory()
	for id, n := range map[tokenstore.AccountID]string{"a": "1", "other": "other"} {
		r := tokenstore.Record{
			Provider: "idp", Kind: tokenstore.KindOAuthRefresh, ClientID: "c",
			ObtainedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
			RefreshToken: tokenstore.NewSecret("rt-" + n), AccessToken: tokenstore.NewSecret("at-" + n),
		}
		if _, err := m.CompareAndSwap(t.Context(), id, r, 0); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// storeOf runs the real store over them, at a token endpoint. stop waits until everything is saved.
func storeOf(
	t *testing.T, m *tokenstoretest.Memory, at string, timeout time.Duration,
) (s *tokenstore.Store, stop func()) {
	t.Helper()
	d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: at, Replay: "grace"})
	s, err := tokenstore.New(tokenstore.Config{
		Drivers:   map[string]tokenstore.Driver{"idp": d},
		Pools:     map[string]tokenstore.PoolConfig{"idp": {Provider: "idp", Select: tokenstore.LeastLoaded}},
		Upstreams: map[string]tokenstore.UpstreamConfig{"u": {Pool: "idp", Cluster: "u"}},
		Routes: map[string]tokenstore.RouteConfig{
			"r": {Upstreams: []string{"u"}, Attempts: 2, RecoveryTimeout: time.Minute, RefreshWait: time.Second},
		},
		Renewal: tokenstore.RenewalConfig{
			Sweep: time.Hour, Workers: 1, TokenEndpointTimeout: timeout, ClaimLease: time.Minute,
			BackoffMin: time.Second, BackoffMax: time.Minute,
		},
	}, m, tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// picksAreSound fails unless every pick gets a token that was there before, and both accounts may serve with theirs.
func picksAreSound(t *testing.T, s *tokenstore.Store) {
	t.Helper()
	for range 20 {
		p, err := s.Pick(t.Context(), tokenstore.PickRequest{Route: "r"})
		if err != nil || len(p.Headers) == 0 {
			t.Fatalf("picked %s with %v, %v", p.Account, p.Headers, err)
		}
		if v := p.Headers[0].Value; v != "Bearer at-1" && v != "Bearer at-other" {
			t.Errorf("%s is sent with %q", p.Account, v)
		}
		p.Release()
	}
}

// The credential was spent for this answer: what it brings must be kept, and no request may carry its token.
func TestATokenThatNoHeaderCarriesIsRefusedAndItsRefreshTokenIsUsedNext(t *testing.T) {
	for name, token := range map[string]string{
		"CR LF": "tok\r\nx-evil: 1", "LF": "tok\nx-evil: 1", "CR": "tok\rx", "NUL": "tok\x00en",
		"a space": "tok en", "a tab": "tok\ten",
		"an escape": "tok\x1b[31m", "DEL": "tok\x7fen", "C1": "tok\u0085en", "a letter of no header": "tök",
		"no character": "tok\ufffden",
		"half a pair":  `tok\ud800en`, "the other direction": "tok\u202een", "very long": strings.Repeat("t", 17<<10),
	} {
		t.Run(name, func(t *testing.T) {
			quoted := []byte(`"` + token + `"`)
			if !strings.Contains(token, `\`) {
				quoted, _ = json.Marshal(token)
			}
			at, shown := issuer(t,
				fmt.Sprintf(`{"access_token":%s,"expires_in":60,"refresh_token":"rt-2"}`, quoted),
				`{"access_token":"at-3","expires_in":3600,"refresh_token":"rt-3"}`)
			m := twoAccounts(t)
			s, stop := storeOf(t, m, at, 10*time.Second)
			res, err := s.RefreshAccount(t.Context(), "a", true)
			const words = "access_token must be printable ASCII"
			if err != nil || res.Outcome != tokenstore.Failed || !strings.Contains(res.Error, words) {
				t.Errorf("got %+v, %v", res, err)
			}
			if strings.Contains(res.Error, token) {
				t.Errorf("the token is shown: %q", res.Error)
			}
			picksAreSound(t, s)
			stop()
			if r, _, err := m.Load(t.Context(), "a"); err != nil || r.RefreshToken.Reveal() != "rt-2" {
				t.Errorf("the refresh token is lost: %v", err)
			}
			s, _ = storeOf(t, m, at, 10*time.Second)
			if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
				t.Errorf("the next refresh: %+v, %v", res, err)
			}
			if first, second := nextOf(shown), nextOf(shown); first != "rt-1" || second != "rt-2" {
				t.Errorf("presented %q, then %q", first, second)
			}
		})
	}
}

// A refresh token travels in a body alone, where anything fits.
func TestARefreshTokenOfOddCharactersIsPresentedAsItCame(t *testing.T) {
	for _, odd := range []string{"rt&grant_type=password", "rt=+%20/~", `rt"\<>`, strings.Repeat("r", 16<<10)} {
		quoted, _ := json.Marshal(odd)
		at, shown := issuer(t,
			fmt.Sprintf(`{"access_token":"at-2","expires_in":3600,"refresh_token":%s}`, quoted),
			`{"access_token":"at-3","expires_in":3600}`)
		s, _ := storeOf(t, twoAccounts(t), at, 10*time.Second)
		for range 2 {
			if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
				t.Errorf("%.20q: %+v, %v", odd, res, err)
			}
		}
		_ = nextOf(shown)
		if second := nextOf(shown); second != odd {
			t.Errorf("presented %.20q, want %.20q", second, odd)
		}
	}
}

// One that is none by RFC 6749 appendix A.17 is not presented, but it is kept: the one before it is spent.
func TestARefreshTokenThatIsNoneIsKeptAndTold(t *testing.T) {
	for odd, words := range map[string]string{
		"rt\r\nx: 1": "several lines", "rt\x00": "control character", strings.Repeat("r", 64<<10): "longer than 16 KiB",
	} {
		quoted, _ := json.Marshal(odd)
		first := fmt.Sprintf(`{"access_token":"at-2","expires_in":3600,"refresh_token":%s}`, quoted)
		at, shown := issuer(t, first, goodAnswer)
		m := twoAccounts(t)
		s, stop := storeOf(t, m, at, 10*time.Second)
		_, _ = s.RefreshAccount(t.Context(), "a", true)
		res, err := s.RefreshAccount(t.Context(), "a", true)
		told := strings.Contains(res.Error, words) && !strings.Contains(res.Error, odd)
		if err != nil || res.Outcome != tokenstore.Failed || !told {
			t.Errorf("%.20q: %+v, %v", odd, res, err)
		}
		if _, second := nextOf(shown), nextOf(shown); second != "" {
			t.Errorf("%.20q: presented %.20q", odd, second)
		}
		stop()
		var kept string
		if err := json.Unmarshal(m.Document("a")["refresh_token"], &kept); err != nil || kept != odd {
			t.Errorf("%.20q is lost, %.20q is there: %v", odd, kept, err)
		}
	}
}

// Who may write one record must not send its refresh token, or another's, to a server of their own.
func TestARecordNamesNoTokenEndpoint(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the grant was sent there")
	}))
	defer stranger.Close()
	at, shown := issuer(t, `{"access_token":"at-2","expires_in":3600}`)
	m := twoAccounts(t)
	url, _ := json.Marshal(stranger.URL)
	keys := map[string]json.RawMessage{}
	for _, key := range []string{"token_url", "token_uri", "token_endpoint", "url", "proxy", "issuer", "driver", "auth_uri"} {
		keys[key] = url
	}
	m.Patch("a", keys)
	s, _ := storeOf(t, m, at, 10*time.Second)
	if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
		t.Errorf("%+v, %v", res, err)
	}
	if first := nextOf(shown); first != "rt-1" {
		t.Errorf("presented %q", first)
	}
}

// The store's own deadline ends an answer that never ends. Whether the credential is spent, nobody knows: it stays.
func TestAnEndlessAnswerEndsWithTheStoresDeadlineAndLosesNothing(t *testing.T) {
	at, shown := issuer(t, endless, `{"access_token":"at-2","expires_in":3600,"refresh_token":"rt-2"}`)
	m := twoAccounts(t)
	s, _ := storeOf(t, m, at, 200*time.Millisecond)
	res, err := s.RefreshAccount(t.Context(), "a", true)
	if err != nil || res.Outcome != tokenstore.Failed || res.Class != tokenstore.RefreshUnknown {
		t.Errorf("got %+v, %v", res, err)
	}
	if r, _, err := m.Load(t.Context(), "a"); err != nil || r.RefreshToken.Reveal() != "rt-1" {
		t.Errorf("the refresh token is lost: %v", err)
	}
	if res, err := s.RefreshAccount(t.Context(), "a", true); err != nil || res.Outcome != tokenstore.Refreshed {
		t.Errorf("the next refresh: %+v, %v", res, err)
	}
	if first, second := nextOf(shown), nextOf(shown); first != "rt-1" || second != "rt-1" {
		t.Errorf("presented %q, then %q", first, second)
	}
}
