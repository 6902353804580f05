package admin

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

func TestAMissingTokenFileIsCreatedForItsOwnerOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "admin.token")
	first, err := loadToken(file)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", st.Mode(), err)
	}
	if folder, _ := os.Stat(filepath.Dir(file)); folder.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v", folder.Mode())
	}
	again, err := loadToken(file)
	if err != nil || again != first || len(first) < 26 {
		t.Errorf("got %d characters, then a token that is the same: %v, %v", len(first), again == first, err)
	}
	other, err := loadToken(filepath.Join(t.TempDir(), "admin.token"))
	if err != nil || other == first {
		t.Errorf("two files hold the same token, %v", err)
	}
}

func TestATokenFileThatCannotBeTrustedIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		part    string
	}{
		"group readable": {adminToken, 0o640, "chmod 600"},
		"world readable": {adminToken, 0o604, "chmod 600"},
		"group writable": {adminToken, 0o620, "chmod 600"},
		"empty":          {"", 0o600, "delete the file"},
		"blank":          {" \n", 0o600, "delete the file"},
		"short":          {"hunter2", 0o600, "delete the file"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "admin.token")
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil { // past the umask
				t.Fatal(err)
			}
			_, err := New(Config{Listen: "127.0.0.1:0", TokenFile: file}, &fakeTokens{}, prometheus.NewRegistry(), zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), c.part) || !strings.Contains(err.Error(), file) {
				t.Fatalf("got %v, want an error with the file and %q", err, c.part)
			}
			if token := strings.TrimSpace(c.content); token != "" && strings.Contains(err.Error(), token) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

func TestTheAPINeedsTheToken(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5")}
	s := server(t, f)
	for pattern := range s.api() {
		method, path, _ := strings.Cut(pattern, " ")
		for name, edit := range map[string]func(*http.Request){
			"none":   without("Authorization"),
			"wrong":  header("Authorization", "Bearer not-the-token-0123456789"),
			"empty":  header("Authorization", "Bearer "),
			"prefix": header("Authorization", "Bearer "+adminToken[:10]),
			"longer": header("Authorization", "Bearer "+adminToken+"x"),
			"basic":  header("Authorization", "Basic "+adminToken),
			"as a session": func(r *http.Request) {
				r.Header.Del("Authorization")
				r.AddCookie(&http.Cookie{Name: s.cookie().Name, Value: adminToken})
			},
			"empty cookie": func(r *http.Request) { r.Header.Del("Authorization"); r.AddCookie(&http.Cookie{Name: s.cookie().Name}) },
		} {
			a := send(s, method, path, `{"action":"refresh-all"}`, edit)
			wantProblem(t, a, http.StatusUnauthorized, "unauthorized")
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s with %s token: WWW-Authenticate %q", pattern, name, a.header.Get("WWW-Authenticate"))
			}
		}
	}
	if got := f.asked(); len(got) != 0 {
		t.Errorf("calls without the token refreshed %v", got)
	}
}

func TestHealthReadinessAndThePageNeedNoToken(t *testing.T) {
	s := server(t, &fakeTokens{})
	for _, path := range []string{"/", "/app.js", "/app.css", "/healthz", "/readyz", "/metrics"} {
		if a := send(s, "GET", path, "", without("Authorization")); a.status != 200 {
			t.Errorf("%s: got %d", path, a.status)
		}
	}
}

func TestMetricsNeedTheTokenWhenSaidSo(t *testing.T) {
	s := server(t, &fakeTokens{}, func(c *Config) { c.MetricsAuth = true })
	wantProblem(t, send(s, "GET", "/metrics", "", without("Authorization")), http.StatusUnauthorized, "unauthorized")
	if a := send(s, "GET", "/metrics", ""); a.status != 200 {
		t.Errorf("with the token: %d", a.status)
	}
}

// signIn returns the cookie that signing in sets.
func signIn(t *testing.T, s *Server) *http.Cookie {
	t.Helper()
	a := send(s, "POST", "/login", `{"token":"`+adminToken+`"}`, without("Authorization"))
	if a.status != http.StatusNoContent {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	c, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func withSession(c *http.Cookie) func(*http.Request) {
	return func(r *http.Request) { r.Header.Del("Authorization"); r.AddCookie(c) }
}

func TestSigningInSetsACookieThatScriptsAndOtherSitesCannotUse(t *testing.T) {
	s := server(t, &fakeTokens{})
	c := signIn(t, s)
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge != 3600 || c.Secure {
		t.Errorf("cookie %+v", c)
	}
	if strings.Contains(c.Value, adminToken) || len(c.Value) < 26 || signIn(t, s).Value == c.Value {
		t.Error("the cookie is not a random id of its own")
	}
	if a := send(s, "GET", refreshPath, "", withSession(c)); a.status != 200 {
		t.Errorf("with the session: %d", a.status)
	}
	if a := send(s, "GET", refreshPath, "", withSession(c), header("Authorization", "Bearer wrong")); a.status != 401 {
		t.Errorf("a wrong token beside a session: %d", a.status)
	}
}

func TestAWrongTokenDoesNotSignIn(t *testing.T) {
	s := server(t, &fakeTokens{})
	for _, body := range []string{`{"token":"wrong"}`, `{"token":""}`, `{}`, `{"token":null}`} {
		a := send(s, "POST", "/login", body, without("Authorization"))
		wantProblem(t, a, http.StatusUnauthorized, "unauthorized")
		if a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: a cookie was set", body)
		}
	}
	p := wantProblem(t, send(s, "POST", "/login", `{"password":"x"}`), http.StatusBadRequest, "bad-request")
	if !strings.Contains(p.Detail, `"password"`) || !strings.Contains(p.Detail, `{"token":`) {
		t.Errorf("detail %q names neither the field nor the right one", p.Detail)
	}
}

func TestSigningOutEndsTheSession(t *testing.T) {
	s := server(t, &fakeTokens{})
	c, other := signIn(t, s), signIn(t, s)
	a := send(s, "POST", "/logout", "", withSession(c))
	if gone, err := http.ParseSetCookie(a.header.Get("Set-Cookie")); a.status != http.StatusNoContent || err != nil || gone.MaxAge >= 0 || gone.Name != c.Name {
		t.Errorf("got %d %q", a.status, a.header.Get("Set-Cookie"))
	}
	wantProblem(t, send(s, "GET", refreshPath, "", withSession(c)), http.StatusUnauthorized, "unauthorized")
	if a := send(s, "GET", refreshPath, "", withSession(other)); a.status != 200 {
		t.Errorf("another session ended too: %d", a.status)
	}
}

func TestASessionLastsAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, &fakeTokens{})
		c := signIn(t, s)
		time.Sleep(time.Hour - time.Second)
		if a := send(s, "GET", refreshPath, "", withSession(c)); a.status != 200 {
			t.Errorf("just before: %d", a.status)
		}
		time.Sleep(time.Second)
		wantProblem(t, send(s, "GET", refreshPath, "", withSession(c)), http.StatusUnauthorized, "unauthorized")
		time.Sleep(time.Second)
		signIn(t, s)
		if n := len(s.sessions.ids); n != 1 {
			t.Errorf("%d sessions are kept after the first had ended", n)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	s := server(t, &fakeTokens{})
	for range sessionMost + 50 {
		s.sessions.create(time.Hour)
	}
	if n := len(s.sessions.ids); n != sessionMost {
		t.Errorf("%d sessions, want %d", n, sessionMost)
	}
	if !s.sessions.valid(s.sessions.create(time.Hour)) {
		t.Error("the newest session is not valid")
	}
}

func TestOnlyOurOwnHostNamesAreServed(t *testing.T) {
	s := server(t, &fakeTokens{}, func(c *Config) { c.Listen = "gateway.internal:8980" })
	for name, ours := range map[string]bool{
		"127.0.0.1:8980": true, "127.0.0.1": true, "127.8.9.1:1": true, "[::1]:8980": true, "[::1]": true, "localhost:8980": true, "localhost": true,
		"gateway.internal:8980": true, "gateway.internal": true,
		"evil.example": false, "evil.example:8980": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "192.0.2.7:8980": false,
		"gateway.internal.evil.example": false, "0.0.0.0:8980": false, "2130706433": false, "": false,
	} {
		for _, path := range []string{"/", refreshPath, "/metrics", "/login"} {
			a := send(s, "GET", path, "", host(name))
			if !ours {
				wantProblem(t, a, http.StatusMisdirectedRequest, "wrong-host")
			} else if a.status == http.StatusMisdirectedRequest {
				t.Errorf("host %q is refused", name)
			}
		}
	}
}

func TestStateIsNotChangedForPagesOfOtherOrigins(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5")}
	s := server(t, f)
	body := `{"action":"refresh-single","accountId":"5"}`
	for _, origin := range []string{"https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8980", "127.0.0.1:8980", "%", "http://127.0.0.1:8980.evil.example"} {
		wantProblem(t, send(s, "POST", refreshPath, body, header("Origin", origin)), http.StatusForbidden, "wrong-origin")
		wantProblem(t, send(s, "POST", "/login", `{"token":"`+adminToken+`"}`, header("Origin", origin)), http.StatusForbidden, "wrong-origin")
		wantProblem(t, send(s, "POST", "/logout", "", header("Origin", origin)), http.StatusForbidden, "wrong-origin")
	}
	if len(f.asked()) != 0 {
		t.Errorf("calls: %v", f.asked())
	}
	if a := send(s, "POST", refreshPath, body, header("Origin", "http://127.0.0.1:8980")); a.status != 200 {
		t.Errorf("our own origin: %d %s", a.status, a.body)
	}
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	s := server(t, &fakeTokens{})
	for _, path := range []string{"/", "/app.js", refreshPath, "/metrics", "/healthz", "/api/nothing"} {
		h := send(s, "GET", path, "").header
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestOverTLSTheCookieIsBoundToTheHost(t *testing.T) {
	cert, key, _ := certificate(t, "gateway.example")
	s := server(t, &fakeTokens{}, func(c *Config) { c.CertFile, c.KeyFile = cert, key })
	c := signIn(t, s)
	if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || c.Path != "/" || c.Domain != "" || c.MaxAge != 12*3600 {
		t.Errorf("cookie %+v", c) // a browser refuses the name with anything else
	}
	if a := send(s, "GET", refreshPath, "", withSession(c)); a.status != 200 {
		t.Errorf("with the session: %d", a.status)
	}
	plain := *c
	plain.Name = "tokenward_session"
	wantProblem(t, send(s, "GET", refreshPath, "", withSession(&plain)), http.StatusUnauthorized, "unauthorized")
}
