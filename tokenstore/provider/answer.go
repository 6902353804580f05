package provider

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// answer is what a token endpoint may say (RFC 6749 sections 5.1 and 5.2, and the providers' own error objects).
type answer struct {
	AccessToken  string          `json:"access_token"`
	TokenType    string          `json:"token_type"`
	ExpiresIn    json.RawMessage `json:"expires_in"` // a number; some send a string
	RefreshToken string          `json:"refresh_token"`
	Scope        string          `json:"scope"`
	Error        json.RawMessage `json:"error"` // a string, or an object
	Description  string          `json:"error_description"`
}

// parseAnswer reads the answer to a grant request. A success that cannot be read is of unknown outcome: the server has
// processed the grant, so a single-use refresh token is spent.
func parseAnswer(r request, status int, h http.Header, body []byte) (tokenstore.Grant, error) {
	var a answer
	err := json.Unmarshal(body, &a)
	var mismatch *json.UnmarshalTypeError // one key of another type, say a scope given as a list, spoils no grant
	readable := err == nil || errors.As(err, &mismatch)
	fail := func(class tokenstore.RefreshClass, code, message string) (tokenstore.Grant, error) {
		return tokenstore.Grant{}, &tokenstore.RefreshError{Class: class, Status: status, Code: clean(code, r.record), Message: clean(message, r.record), RetryAfter: retryAfter(h, time.Now())}
	}
	code, message := a.problem()
	switch {
	case status >= 300 && status < 400:
		return fail(tokenstore.RefreshMisconfigured, "", "the token endpoint redirects; configure its final URL")
	case status >= 400 || code != "":
		return fail(refusalClass(r, status, code, readable), code, message)
	case !readable:
		return fail(tokenstore.RefreshUnknown, "", "the answer is not JSON")
	case a.AccessToken == "":
		return fail(tokenstore.RefreshUnknown, "", "the answer has no access_token")
	}
	life, ok := seconds(a.ExpiresIn)
	switch {
	case !ok:
		return fail(tokenstore.RefreshUnknown, "", "the answer's expires_in is no positive number")
	case life == 0:
		life = r.lifetime
	}
	return tokenstore.Grant{
		AccessToken: tokenstore.NewSecret(a.AccessToken), TokenType: a.TokenType, ExpiresIn: life,
		RefreshToken: tokenstore.NewSecret(a.RefreshToken), Scope: a.Scope,
	}, nil
}

// problem returns the error code and text, "" when there is none.
func (a answer) problem() (code, message string) {
	if len(a.Error) == 0 || string(a.Error) == "null" {
		return "", ""
	}
	if json.Unmarshal(a.Error, &code) == nil {
		return code, a.Description
	}
	var o struct {
		Type    string `json:"type"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(a.Error, &o) != nil {
		return "unreadable_error", ""
	}
	if o.Code != "" {
		return o.Code, o.Message
	}
	return o.Type, o.Message
}

// refusalClass is the table of reference A.6, the provider's own words first.
func refusalClass(r request, status int, code string, readable bool) tokenstore.RefreshClass {
	switch {
	case r.permanent != nil && r.permanent(status, code):
		return tokenstore.RefreshPermanent
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500, !readable, status == http.StatusProxyAuthRequired:
		return tokenstore.RefreshTransient // 429, 5xx, HTML and the like: the credential was not judged
	}
	switch code {
	case "invalid_grant":
		return tokenstore.RefreshPermanent
	case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request":
		return tokenstore.RefreshMisconfigured
	}
	return tokenstore.RefreshTransient // unknown words: nothing is given up on a guess
}

// seconds reads expires_in; ok is false when it is there and not a positive number.
func seconds(raw json.RawMessage) (d time.Duration, ok bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, true
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	f, err := strconv.ParseFloat(text, 64)
	const century = 100 * 365 * 24 * 3600
	if err != nil || !(f > 0) || f > century {
		return 0, false
	}
	return max(time.Duration(f*float64(time.Second)), 1), true // 0 would mean that the answer did not say
}

// longestWait bounds what a provider may ask for. Instants are kept in Unix nanoseconds, which end in the year 2262.
const longestWait = 31 * 24 * time.Hour

// retryAfter reads Retry-After, in seconds or as a date (RFC 9110 section 10.2.3), at most longestWait; 0 when absent or
// unreadable.
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
