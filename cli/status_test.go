package cli

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// service answers like the running service's admin API.
func service(t *testing.T, s *shell, status int, body string) *httptest.Server {
	t.Helper()
	h := httptest.NewServer(answering(status, body))
	t.Cleanup(h.Close)
	s.session.AdminURL, s.session.AdminTokenFile = h.URL, s.file(t, "admin.token", planted+"token\n")
	return h
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			_, _ = io.WriteString(w, `{"status":"ready"}`)
			return
		}
		if r.URL.Path != "/api/admin/oauth/refresh" || r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer "+planted+"token" {
			status = http.StatusTeapot
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const answer = `{"accounts":[
	{"accountId":"a","provider":"p","pools":["p","spare"],"state":"active","routable":true,"reason":"","expiresAt":"2100-01-01T00:00:00Z","nextRefreshAt":"2099-12-31T23:00:00Z","requests":12,"failovers":3},
	{"accountId":"b","provider":"p","pools":["lone"],"state":"needs_reauth","routable":false,"reason":"invalid_grant","expiresAt":null,"nextRefreshAt":null,"requests":0,"failovers":0}],"summary":{"total":2}}`

func TestStatusShowsATable(t *testing.T) {
	s := newShell(t)
	service(t, s, 200, answer)
	lines := strings.Split(strings.TrimSpace(s.good(t, "status")), "\n")
	if len(lines) != 5 {
		t.Fatalf("lines: %q", lines)
	}
	has(t, lines[0], "ACCOUNT", "STATE", "SERVES", "TOKEN ENDS", "NEXT RENEWAL", "ATTEMPTS", "MOVED", "WHY")
	has(t, lines[1], "b ", "needs_reauth", "no", "invalid_grant") // problems first
	has(t, lines[2], "a ", "p,spare", "active", "yes", "in ", "12", "3")
	expect(t, "summary", lines[3], "2 accounts: 1 active, 1 needs_reauth")
	expect(t, "pool", lines[4], "pool lone: no account can serve")
	if strings.Contains(lines[1], "\033") {
		t.Error("colours where there is no terminal")
	}
}

func TestStatusAsJSONIsTheServicesAnswer(t *testing.T) {
	s := newShell(t)
	service(t, s, 200, answer)
	compact := func(text string) string { return strings.Join(strings.Fields(text), "") }
	expect(t, "output", compact(s.good(t, "status", "-o", "json")), compact(answer))
}

func TestStatusSaysWhyTheServiceCannotBeAsked(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, s *shell)
		code    int
		says    []string
	}{
		"wrong token": {func(t *testing.T, s *shell) { service(t, s, 401, `{}`) }, ExitRefused, []string{"it refused the token in", "admin.token", "another service"}},
		"fault":       {func(t *testing.T, s *shell) { service(t, s, 500, `{}`) }, ExitFailed, []string{"it answered 500"}},
		"no JSON":     {func(t *testing.T, s *shell) { service(t, s, 200, `<html>`) }, ExitFailed, []string{"its answer cannot be read"}},
		"down": {func(t *testing.T, s *shell) {
			service(t, s, 200, answer).Close()
		}, ExitFailed, []string{"it does not answer", "tokenward serve or tokenward run", "tokenward accounts list works without it"}},
		"no token file": {func(t *testing.T, s *shell) {
			service(t, s, 200, answer)
			s.session.AdminTokenFile += ".none"
		}, ExitFailed, []string{"admin.token.none", "is it running with this configuration?"}},
		"certificate missing": {func(t *testing.T, s *shell) {
			service(t, s, 200, answer)
			s.session.AdminCAFile = s.folder + "/none.pem"
		}, ExitFailed, []string{"asking the service", "admin.tls.cert_file", "none.pem"}},
		"no certificate": {func(t *testing.T, s *shell) {
			service(t, s, 200, answer)
			s.session.AdminCAFile = s.file(t, "empty.pem", "nothing")
		}, ExitFailed, []string{"empty.pem holds no certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			c.prepare(t, s)
			r := s.run(t, "", "status")
			expect(t, "exit code", r.code, c.code)
			has(t, r.err, append([]string{"the service"}, c.says...)...)
			expect(t, "output", r.out, "")
		})
	}
}

func TestStatusTrustsTheServicesOwnCertificateOnly(t *testing.T) {
	s := newShell(t)
	h := httptest.NewUnstartedServer(answering(200, answer))
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	h.StartTLS()
	defer h.Close()
	s.session.AdminURL, s.session.AdminTokenFile = h.URL, s.file(t, "admin.token", planted+"token")
	r := s.run(t, "", "status")
	expect(t, "exit code without the certificate", r.code, ExitFailed)
	s.session.AdminCAFile = s.file(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})))
	has(t, s.good(t, "status"), "needs_reauth")
}

func TestStatusFailsWhenAskedForReadinessWhileThereIsNone(t *testing.T) {
	s, status := newShell(t), http.StatusServiceUnavailable
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"status":"…","reasons":["accounts are not loaded yet"]}`)
			return
		}
		answering(http.StatusOK, answer)(w, r)
	}))
	t.Cleanup(h.Close)
	s.session.AdminURL, s.session.AdminTokenFile = h.URL, s.file(t, "admin.token", planted+"token\n")
	r := s.run(t, "", "status")
	expect(t, "exit code without --ready", r.code, 0)
	has(t, r.err, "the service is not ready: accounts are not loaded yet", "look into its log")
	expect(t, "what a program gets to read besides", s.run(t, "", "status", "-o", "json").err, "")
	r = s.run(t, "", "status", "--ready")
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "whether it is ready", "accounts are not loaded yet", "look into its log")
	status = http.StatusOK // what is degraded serves
	s.good(t, "status", "--ready")
	has(t, s.run(t, "", "status").err, "note: accounts are not loaded yet")
}
