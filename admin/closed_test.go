package admin

import (
	"net/http"
	"strings"
	"testing"
)

// Without the token there are the page, liveness, readiness and metrics, and no more.
func TestStrangersReachWhatIsPublicAlone(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5")}
	s := server(t, f)
	public := map[string]bool{"/": true, "/app.js": true, "/app.css": true, "/healthz": true, "/readyz": true, "/metrics": true}
	for _, path := range []string{
		"/", "/app.js", "/app.css", "/healthz", "/readyz", "/metrics", "/index.html", "/login", "/logout", "/api", "/api/", "/api/admin",
		"/api/admin/oauth/refresh", "/api/admin/oauth/refresh/", "/api/admin/jobs/1", "/api/admin/openapi.yaml", "/api/../api/admin/openapi.yaml",
		"/page/../openapi.yaml", "/..%2fopenapi.yaml", "/%2e%2e/openapi.yaml", "/openapi.yaml", "/debug/pprof/", "/debug/vars", "/.git/config", "/data/admin.token",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"} {
			a := send(s, method, path, `{"action":"refresh-all"}`, without("Authorization"))
			reads := method == http.MethodGet || method == http.MethodHead
			allowed := public[path] && reads || path == "/logout" || isPage(path)
			if a.status < 300 && !allowed {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
			if strings.Contains(a.body, `"accountId"`) || strings.Contains(a.body, adminToken) {
				t.Errorf("%s %s tells %s", method, path, a.body)
			}
		}
	}
	if got := f.asked(); len(got) != 0 {
		t.Errorf("accounts were refreshed: %v", got)
	}
}

// isPage reports whether a path is a file of the page, which is served whatever the method is.
func isPage(path string) bool { return path == "/" || strings.HasPrefix(path, "/app.") }
