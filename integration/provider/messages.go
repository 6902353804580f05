package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

// sim is what the header x-sim asks of one request: "status=401; times=1; early; hints; delay=1s; events=3; pause=1s;
// cut=1".
type sim map[string]string

func simOf(r *http.Request) sim {
	s := sim{}
	for part := range strings.SplitSeq(r.Header.Get("x-sim"), ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(part), "="); k != "" {
			s[k] = v
		}
	}
	return s
}

func (s sim) has(k string) bool { _, ok := s[k]; return ok }

func (s sim) number(k string, otherwise int) int {
	if n, err := strconv.Atoi(s[k]); err == nil {
		return n
	}
	return otherwise
}

func (s sim) duration(k string) time.Duration {
	d, _ := time.ParseDuration(s[k])
	return d
}

// api is the LLM API: every path, with the token checked.
func (p *Provider) api(w http.ResponseWriter, r *http.Request) {
	s := simOf(r)
	a, script, nth := p.ledger.admit(r)
	seen := Seen{
		Test:           r.Header.Get("x-test-id"),
		Path:           r.URL.Path,
		URI:            r.RequestURI,
		Proto:          r.Proto,
		Headers:        r.Header.Clone(),
		Authorizations: r.Header.Values("Authorization"),
	}
	if a != nil {
		seen.Account = a.Name
	}
	faulty := s.has("status") && nth <= s.number("times", 1)
	seen.Status = 200
	switch {
	case a == nil:
		seen.Status = 401
	case faulty:
		seen.Status = s.number("status", 500)
	case script.Status != 0:
		seen.Status = script.Status
	}
	if s.has("early") && seen.Status != 200 {
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 has it anyway
	} else {
		body, _ := io.ReadAll(r.Body)
		sum := sha256.Sum256(body)
		seen.BodyLength, seen.BodySum, seen.Trailers = len(body), hex.EncodeToString(sum[:]), r.Trailer.Clone()
	}
	p.ledger.note(seen)
	time.Sleep(s.duration("delay"))
	if s.has("hints") {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	}
	switch {
	case a != nil && !faulty && script.Status != 0:
		script.answer(w, r)
	case seen.Status != 200:
		refuse(w, seen.Status, s["message"])
	case r.Header.Get("Upgrade") == "websocket":
		websocket.Server{Handler: func(c *websocket.Conn) { _, _ = io.Copy(c, c) }}.ServeHTTP(w, r)
	case s.has("events"):
		stream(w, seen, s)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).
			Encode(map[string]any{
				"type": "message", "account": seen.Account, "body_length": seen.BodyLength, "body_sum": seen.BodySum,
			})
	}
}

// admit finds the account of the request's token, nil if the token is not valid, and counts the test's requests.
func (l *ledger) admit(r *http.Request) (*Account, Script, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	test := r.Header.Get("x-test-id")
	l.counts[test]++
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a := l.byAccess[token]
	if !bearer || a == nil || time.Now().After(a.access[token]) {
		return nil, Script{}, l.counts[test]
	}
	return a, a.Script, l.counts[test]
}

func (l *ledger) note(s Seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, s)
}

// kinds are Anthropic's error types by status.
var kinds = map[int]string{
	400: "invalid_request_error",
	401: "authentication_error",
	402: "billing_error",
	403: "permission_error",
	404: "not_found_error",
	413: "request_too_large",
	429: "rate_limit_error",
	500: "api_error",
	529: "overloaded_error",
}

func refuse(w http.ResponseWriter, status int, message string) {
	if message == "" {
		message = "simulated " + kinds[status]
	}
	body, _ := json.Marshal(
		map[string]any{"type": "error", "error": map[string]string{"type": kinds[status], "message": message}},
	)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
	_ = http.NewResponseController(w).Flush()
}

// stream sends server-sent events, with a pause before each but the first.
func stream(w http.ResponseWriter, seen Seen, s sim) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range s.number("events", 3) {
		if i > 0 {
			time.Sleep(s.duration("pause"))
		}
		if i == s.number("cut", -1) {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "event: content_block_delta\ndata: {\"index\":%d,\"account\":%q}\n\n", i, seen.Account)
		_ = http.NewResponseController(w).Flush()
	}
}
