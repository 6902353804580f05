package provider

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// token is the token endpoint: refresh_token grants, JSON or form.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	l := p.ledger
	q := grantOf(r)
	l.mu.Lock()
	l.calls++
	a := l.byToken[q["refresh_token"]]
	var s Script
	if a != nil {
		s = a.Script
	}
	l.mu.Unlock()
	select {
	case <-time.After(s.Before):
	case <-r.Context().Done():
		return // the client is gone: nothing is processed
	}
	switch {
	case s.DropBefore:
		panic(http.ErrAbortHandler)
	case s.TokenError != 0:
		w.WriteHeader(s.TokenError)
		_, _ = w.Write([]byte(s.TokenBody))
		return
	case q["grant_type"] != "refresh_token":
		tokenError(w, 400, "unsupported_grant_type")
		return
	case q["client_id"] != ClientID:
		tokenError(w, 401, "invalid_client")
		return
	}
	access, refresh, life := l.redeem(a, q["refresh_token"])
	if access == "" {
		tokenError(w, 400, "invalid_grant")
		return
	}
	time.Sleep(s.After)
	if s.DropAfter {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": access + s.TokenTail, "refresh_token": refresh, "token_type": "Bearer", "expires_in": life.Seconds(),
		"account": map[string]string{"email_address": a.Name + "@sim.example"},
	})
}

// redeem processes a grant with strict rotation.
func (l *ledger) redeem(a *Account, refresh string) (access, next string, life time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case a == nil || a.Dead:
		return "", "", 0
	case a.spent[refresh] != 0:
		a.Reuses++
		if a.spent[refresh] == a.signIns { // an older family is revoked already
			a.kill()
		}
		return "", "", 0
	case a.refresh != refresh:
		return "", "", 0
	}
	a.spent[refresh] = a.signIns
	a.Redemptions++
	access = l.issue(a) // replaces a.refresh
	return access, a.refresh, a.Lifetime
}

func grantOf(r *http.Request) map[string]string {
	q := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		body, _ := io.ReadAll(r.Body) // to its end: only then does the server notice that a client goes
		_ = json.Unmarshal(body, &q)  // an unreadable grant has no grant_type
		return q
	}
	_ = r.ParseForm()
	for k := range r.PostForm {
		q[k] = r.PostForm.Get(k)
	}
	return q
}

func tokenError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "simulated"})
}
