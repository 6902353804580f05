package admin

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const sessionMost = 1000

// loadToken reads the admin token, and creates it on the first run.
func loadToken(path string) (string, error) {
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		token := rand.Text()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", fmt.Errorf("creating the admin token: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return "", fmt.Errorf("creating the admin token: %w", err)
		}
		_, err = f.WriteString(token + "\n")
		return token, errors.Join(err, f.Close())
	}
	if err != nil {
		return "", fmt.Errorf("reading the admin token: %w", err)
	}
	if st.IsDir() {
		return "", fmt.Errorf("reading the admin token: %s is a folder: name a file in admin.token_file", path)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf(
			"the admin token %s can be read by others (mode %04o): chmod 600 it, and consider it as disclosed: delete it to "+
				"get a new one",
			path, st.Mode().Perm(),
		)
	}
	data, err := os.ReadFile(path)
	token := strings.TrimSpace(string(data))
	if err == nil && len(token) < 16 {
		err = errors.New("it is shorter than 16 characters: delete the file to get a new one")
	}
	if err != nil {
		return "", fmt.Errorf("reading the admin token %s: %w", path, err)
	}
	return token, nil
}

// cookie is the page's, without a value. Cookies know no port: without TLS every server that the operator visits on
// this host gets it, so that it ends soon. With TLS its name keeps it from being set by anybody else (RFC 6265bis
// section 4.1.3.2).
func (s *Server) cookie() http.Cookie {
	c := http.Cookie{ //nolint:gosec // Secure follows: without TLS a browser would not send it
		Name: "tokenward_session", Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 3600,
	}
	if s.cfg.CertFile != "" {
		c.Name, c.Secure, c.MaxAge = "__Host-tokenward_session", true, 12*3600
	}
	return c
}

// sessions are the page's sign-ins. The cookie holds a random id, not the token.
type sessions struct {
	mu  sync.Mutex // guards ids
	ids map[string]time.Time
}

func (s *sessions) create(life time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, end := range s.ids {
		if time.Now().After(end) || len(s.ids) >= sessionMost {
			delete(s.ids, id)
		}
	}
	id := rand.Text()
	s.ids[id] = time.Now().Add(life)
	return id
}

func (s *sessions) valid(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ids[id]
	return ok && time.Now().Before(end)
}

func (s *sessions) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}

func (s *Server) isToken(given string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) == 1
}

func (s *Server) authorised(r *http.Request) bool {
	// RFC 9110 section 11.1
	if scheme, given, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return s.isToken(strings.TrimSpace(given))
	}
	c, err := r.Cookie(s.cookie().Name)
	return err == nil && s.sessions.valid(c.Value)
}

// guarded lets only authorised calls through.
func (s *Server) guarded(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.authorised(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="tokenward"`)
			fail(w, http.StatusUnauthorized, "unauthorized",
				"the admin token is missing or wrong: send Authorization: Bearer with the contents of admin.token_file")
			return
		}
		defer keep(r)()
		h(w, r)
	})
}

// checked refuses calls that a foreign page could have made: a Host that is not ours (DNS rebinding), a foreign Origin.
func (s *Server) checked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
				"img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		if !s.ourHost(r.Host) {
			fail(w, http.StatusMisdirectedRequest, "wrong-host",
				"this host name is not the service's: call it by the address of admin.listen")
			return
		}
		if o := r.Header.Get("Origin"); o != "" && r.Method != http.MethodGet && r.Method != http.MethodHead {
			if u, err := url.Parse(o); err != nil || u.Host != r.Host {
				fail(w, http.StatusForbidden, "wrong-origin",
					"calls from other origins are refused: use the service's own page, or a client that sends no Origin")
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

func (s *Server) ourHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.Trim(name, "[]")
	configured, _, _ := net.SplitHostPort(s.cfg.Listen)
	ip := net.ParseIP(name)
	if s.tls != nil && (ip != nil || s.tls.Leaf().VerifyHostname(name) == nil) {
		return true // a page that rebinds its own name would need our certificate to hold it
	}
	return name == "localhost" || name == configured || ip != nil && ip.IsLoopback()
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Token string `json:"token"`
	}
	if !readBody(w, r, &q, `{"token":"the admin token"}`) {
		return
	}
	if !s.isToken(q.Token) {
		fail(w, http.StatusUnauthorized, "unauthorized", "signing in: the token is wrong: it is in the file admin.token_file")
		return
	}
	c := s.cookie() //nolint:gosec // see cookie
	c.Value = s.sessions.create(time.Duration(c.MaxAge) * time.Second)
	http.SetCookie(w, &c)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	gone := s.cookie() //nolint:gosec // see cookie
	if c, err := r.Cookie(gone.Name); err == nil {
		s.sessions.drop(c.Value)
	}
	gone.MaxAge = -1
	http.SetCookie(w, &gone)
	w.WriteHeader(http.StatusNoContent)
}
