package provider

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// answer is what a token endpoint may say (RFC 6749 sections 5.1 and 5.2, and the providers' own error objects).
type answer struct {
	AccessToken  string          `json:"access_token"`
	IDToken      string          `json:"id_token"`
	TokenType    string          `json:"token_type"`
	ExpiresIn    json.RawMessage `json:"expires_in"` // a number; some send a string
	RefreshToken string          `json:"refresh_token"`
	Scope        string          `json:"scope"`
	Error        json.RawMessage `json:"error"` // a string, or an object
	Description  string          `json:"error_description"`
	Message      string          `json:"message"`
	Msg          string          `json:"msg"`    // Supabase
	Detail       string          `json:"detail"` // RFC 9457
	// Words without an `error`: Supabase; HubSpot. Of any type, since some repeat the status.
	ErrorCode any `json:"error_code"`
	Code      any `json:"code"`
	Status    any `json:"status"`
}

// readAnswer reads a body that is JSON, or a form as some token endpoints send it. It reports whether it was either. A
// grant is read if it can be: the credential is spent.
func readAnswer(body []byte) (a answer, readable bool) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if bytes.HasPrefix(body, []byte("{")) || bytes.HasPrefix(body, []byte("[")) {
		err := json.NewDecoder(bytes.NewReader(body)).Decode(&a) // whatever comes after it
		var mismatch *json.UnmarshalTypeError                    // a scope given as a list, say, spoils no grant
		return a, err == nil || errors.As(err, &mismatch)
	}
	if bytes.ContainsAny(body, " <>\"{}\n") { // a page, not a form
		return answer{}, false
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("access_token") && !form.Has("error") {
		return answer{}, false
	}
	raw := func(key string) json.RawMessage {
		if !form.Has(key) {
			return nil
		}
		quoted, _ := json.Marshal(form.Get(key)) // a string always marshals
		return quoted
	}
	return answer{
		AccessToken: form.Get("access_token"), IDToken: form.Get("id_token"), TokenType: form.Get("token_type"),
		ExpiresIn: raw("expires_in"), RefreshToken: form.Get("refresh_token"), Scope: form.Get("scope"),
		Error: raw("error"), Description: form.Get("error_description"),
	}, true
}

// parseAnswer reads the answer to a grant request. A success that cannot be read is of unknown outcome: the server has
// processed the grant, so a single-use refresh token is spent.
func parseAnswer(r request, status int, h http.Header, body []byte) (tokenstore.Grant, error) {
	a, readable := readAnswer(body)
	if status >= 300 || a.AccessToken == "" { // whatever else a success says: this grant was given
		p := a.problem(r.refusals)
		class := refusalClass(r.refusals, reply{status, p, body})
		if p.message == "" {
			p.message = explain(status, class, readable)
		}
		return tokenstore.Grant{}, &tokenstore.RefreshError{
			Class: class, Status: status, Code: clean(p.code, r.record), Message: clean(p.message, r.record),
			RetryAfter: min(retryAfter(h, time.Now()), longestRefreshWait),
		}
	}
	life := seconds(a.ExpiresIn)
	if life == 0 {
		life = r.lifetime
	}
	return tokenstore.Grant{
		AccessToken: tokenstore.NewSecret(a.AccessToken), TokenType: a.TokenType, ExpiresIn: life,
		RefreshToken: tokenstore.NewSecret(a.RefreshToken), Scope: a.Scope, Hint: jwtLife(a.IDToken, time.Now()),
	}, nil
}

// problem is what an answer says of a failure.
type problem struct {
	code    string // "" without one
	oauth   bool   // the code is a string under `error`, as RFC 6749 section 5.2 has it
	odd     bool   // there is an `error`, but no code in it
	message string
}

func (a answer) problem(rows []rule[tokenstore.RefreshClass]) problem {
	words := cmp.Or(a.Description, a.Message, a.Msg, a.Detail)
	p := problem{message: words}
	switch string(a.Error) {
	case "", "null", `""`:
		for _, v := range []any{a.ErrorCode, a.Code, a.Status} {
			if w, _ := v.(string); dead(rows, w) { // what else stands there proves nothing
				p.code = w
			}
		}
		return p
	}
	if json.Unmarshal(a.Error, &p.code) == nil {
		p.oauth = true
		return p
	}
	var o struct {
		Type        string          `json:"type"`
		Code        json.RawMessage `json:"code"` // a word; with Google the status again, as a number
		Status      string          `json:"status"`
		Message     string          `json:"message"`
		Description string          `json:"description"`
	}
	_ = json.Unmarshal(a.Error, &o) // what is of another type stays empty
	var code string
	_ = json.Unmarshal(o.Code, &code)
	p.code, p.message = cmp.Or(code, o.Status, o.Type), cmp.Or(o.Message, o.Description, words)
	p.odd = p.code == ""
	return p
}

// seconds reads expires_in, a number or one in a string; 0 when it says nothing that a token's life could be: the grant
// counts all the same, since the credential is spent.
func seconds(raw json.RawMessage) time.Duration {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	f, err := strconv.ParseFloat(text, 64)
	const century = 100 * 365 * 24 * 3600
	if err != nil || !(f >= 1) || f > century {
		return 0
	}
	return time.Duration(f * float64(time.Second))
}

// longestRefreshWait bounds what a token endpoint may ask for: a slip of its operators must not end an account for
// days.
const longestRefreshWait = 15 * time.Minute

// longestWait bounds what a provider may ask for. Instants are kept in Unix nanoseconds, which end in the year 2262.
const longestWait = 31 * 24 * time.Hour

// retryAfter reads Retry-After, in seconds or as a date (RFC 9110 section 10.2.3), at most longestWait; 0 when absent
// or unreadable.
func retryAfter(h interface{ Get(string) string }, now time.Time) time.Duration {
	v := h.Get("retry-after")
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseFloat(v, 64); err == nil && n >= 0 && n < 1e7 {
		return min(time.Duration(n*float64(time.Second)), longestWait)
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return min(t.Sub(now), longestWait)
	}
	return 0
}
