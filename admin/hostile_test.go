package admin

import (
	"net/http"
	"strings"
	"testing"
)

// What held in the review beside what other files of this package test.

// deep is JSON that is nothing but levels, as many as fit into a body.
func deep(open, shut string) string {
	n := (maxBody - 100) / len(open+shut)
	return strings.Repeat(open, n) + strings.Repeat(shut, n)
}

func TestDeepJSONIsABadRequest(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5")}
	s := server(t, f)
	for name, body := range map[string]string{
		"lists":                  deep("[", "]"),
		"lists without an end":   deep("[", ""),
		"objects":                deep(`{"action":`, "}"),
		"objects without an end": deep(`{"action":`, ""),
		"in a known key":         `{"action":"refresh-all","force":` + deep("[", "]") + "}",
		"in an unknown key":      `{"x":` + deep("[", "]") + "}",
		"in the account":         `{"action":"refresh-single","accountId":` + deep(`{"a":`, "}") + "}",
		"in a string":            `{"action":"` + strings.Repeat(`\"`, maxBody/2-100),
		"a long number":          `{"action":` + strings.Repeat("9", maxBody-100) + "}",
		"a long key":             `{"` + strings.Repeat("a", maxBody-100) + `":1}`,
	} {
		for _, path := range []string{refreshPath, "/login"} {
			p := wantProblem(t, send(s, "POST", path, body), http.StatusBadRequest, "bad-request")
			if len(p.Detail) > maxBody+1000 {
				t.Errorf("%s, %s: the answer is longer than what was sent", name, path)
			}
		}
	}
	if got := f.asked(); len(got) != 0 {
		t.Errorf("accounts were refreshed: %v", got)
	}
}

// Refusals are answers too: a page must not frame, keep or misread them either.
func TestRefusalsHaveTheSecurityHeaders(t *testing.T) {
	s := server(t, &fakeTokens{accounts: accountsNamed("5")})
	for status, a := range map[int]answer{
		400: send(s, "POST", refreshPath, "{"),
		401: send(s, "GET", refreshPath, "", without("Authorization")),
		403: send(s, "POST", refreshPath, "", header("Origin", "https://evil.example")),
		404: send(s, "GET", "/api/admin/nothing", ""),
		405: send(s, "DELETE", refreshPath, ""),
		413: send(s, "POST", refreshPath, strings.Repeat(" ", maxBody+1)),
		421: send(s, "GET", "/", "", host("evil.example")),
	} {
		if a.status != status {
			t.Errorf("got %d, want %d", a.status, status)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%d: %s is %q", status, name, got)
			}
		}
		csp := a.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%d: policy %q", status, csp)
		}
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" {
				t.Errorf("%d: %s is sent", status, name)
			}
		}
	}
}

func TestNoSpellingOfAForeignHostIsOurs(t *testing.T) {
	s := server(t, &fakeTokens{})
	for _, name := range []string{
		"localhost@evil.example", "evil.example@localhost.x", "localhost#evil.example", "127.0.0.1#.evil.example",
		"127.0.0.1/evil.example",
		"localhost:8980:80", "localhost.evil.example.", "127.1", "0x7f000001", "0177.0.0.1", "[::]", "[::2]:8980",
		"[evil.example]",
		"localhost\x00", "localhost\t", " localhost", "localhost,evil.example", "169.254.169.254", "%6cocalhost",
		"[fe80::1%25lo]:8980",
	} {
		for _, path := range []string{"/", refreshPath, "/metrics", "/login"} {
			wantProblem(t, send(s, "GET", path, "", host(name)), http.StatusMisdirectedRequest, "wrong-host")
		}
	}
}

func TestNoSpellingOfAForeignOriginIsOurs(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("5")}
	s := server(t, f)
	body := `{"action":"refresh-single","accountId":"5"}`
	for _, origin := range []string{
		"http://127.0.0.1:8980@evil.example", "http://evil.example/127.0.0.1:8980", "http://evil.example#127.0.0.1:8980",
		"file://",
		"http://127.0.0.1:8980 http://evil.example", "http://evil.example\\@127.0.0.1:8980", "chrome-extension://abcdef",
		"about:blank", "http://",
		"data:text/html,x", "http://127.0.0.1", "http://127.0.0.1:08980", "http://2130706433:8980", " ",
	} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			for _, path := range []string{refreshPath, "/login", "/logout"} {
				wantProblem(t, send(s, method, path, body, header("Origin", origin)), http.StatusForbidden, "wrong-origin")
			}
		}
	}
	if got := f.asked(); len(got) != 0 {
		t.Errorf("accounts were refreshed: %v", got)
	}
}

// Sign-ins are bounded, and a flood of them ends some of the others, never the newest and never most of them.
func TestAFloodOfSignInsLeavesTheNewestAndMostOfTheOthers(t *testing.T) {
	s := server(t, &fakeTokens{})
	seen := map[string]bool{}
	var cookies []*http.Cookie
	for range sessionMost + 100 {
		c := signIn(t, s)
		seen[c.Value] = true
		cookies = append(cookies, c)
		if a := send(s, "GET", refreshPath, "", withSession(c)); a.status != 200 {
			t.Fatalf("a session that has just begun: %d", a.status)
		}
	}
	if len(seen) != len(cookies) {
		t.Errorf("%d sign-ins have %d ids", len(cookies), len(seen))
	}
	living := 0
	for _, c := range cookies {
		if a := send(s, "GET", refreshPath, "", withSession(c)); a.status == 200 {
			living++
		}
	}
	if living != sessionMost {
		t.Errorf("%d live, want %d", living, sessionMost)
	}
}
