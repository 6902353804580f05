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
		return tokenstore.Grant{}, &tokenstore.RefreshError{Class: class, Status: status, Code: clean(code, r.record), Message: clean(message, r.record), RetryAfter: min(retryAfter(h, time.Now()), longestRefreshWait)}
	}
	code, message := a.problem()
	switch {
	case status >= 300 && status < 400:
		return fail(tokenstore.RefreshMisconfigured, "", "the token endpoint redirects; configure its final URL")
	case status < 300 && a.AccessToken != "": // whatever else it says: this grant was given
	case status >= 400 || code != "":
		return fail(refusalClass(r, status, code, readable), code, message)
	case !readable:
		return fail(tokenstore.RefreshUnknown, "", "the answer is not JSON")
	default:
		return fail(tokenstore.RefreshUnknown, "", "the answer has no access_token")
	}
	life := seconds(a.ExpiresIn)
	if life == 0 {
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

// refusalClass is the table of reference A.6, the provider's own words first. A gateway's answer in place of the
// authorization server's does not say whether the grant was processed, no more than a broken connection does.
func refusalClass(r request, status int, code string, readable bool) tokenstore.RefreshClass {
	switch {
	case r.permanent != nil && r.permanent(status, code):
		return tokenstore.RefreshPermanent
	case code == "" && processedOrNot(status):
		return tokenstore.RefreshUnknown
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

// processedOrNot reports whether the sender of a bare status may have passed the request on: 500, 502, 504, and Cloudflare's
// 520 and 524. With 503 and the like it was turned away.
func processedOrNot(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout, 520, 524:
		return true
	}
	return false
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
	if err != nil || !(f > 0) || f > century {
		return 0
	}
	return max(time.Duration(f*float64(time.Second)), 1) // 0 would mean that the answer did not say
}

// longestRefreshWait bounds what a token endpoint may ask for: a slip of its operators must not end an account for days.
const longestRefreshWait = 15 * time.Minute

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
