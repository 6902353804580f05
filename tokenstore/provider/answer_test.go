package provider

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/tokenward/tokenward/tokenstore"
)

// parsed is how a driver takes an answer of its token endpoint; nil: one that knows none of its own words.
func parsed(status int, h http.Header, body string, d *dialect) (tokenstore.Grant, *tokenstore.RefreshError) {
	if d == nil {
		d = plainDialect
	}
	if h == nil {
		h = http.Header{}
	}
	g, err := parseAnswer(request{
		record: fullRecord(), askGrant: askGrant{lifetime: time.Hour}, refusals: d.refusals,
	}, status, h, []byte(body))
	var e *tokenstore.RefreshError
	if err != nil && !errors.As(err, &e) {
		panic("an error of another type: " + err.Error()) // a broken contract of the driver, not a finding of one case
	}
	return g, e
}

func TestARefusalOfTheTokenEndpointGetsItsClass(t *testing.T) {
	const (
		transient     = tokenstore.RefreshTransient
		permanent     = tokenstore.RefreshPermanent
		misconfigured = tokenstore.RefreshMisconfigured
		unknown       = tokenstore.RefreshUnknown
	)
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   tokenstore.RefreshClass
		words  *dialect
	}{
		{"invalid_grant", 400, `{"error":"invalid_grant","error_description":"Refresh token not found or invalid"}`, permanent, nil},
		{"invalid_grant with a description of another type", 400, `{"error":"invalid_grant","error_description":{"a":1}}`, permanent, nil},
		{"invalid_grant in an error object", 400, `{"type":"error","error":{"type":"invalid_grant","message":"m"}}`, permanent, nil},
		{"invalid_client", 401, `{"error":"invalid_client"}`, misconfigured, nil},
		{"unauthorized_client", 400, `{"error":"unauthorized_client"}`, misconfigured, nil},
		{"unsupported_grant_type", 400, `{"error":"unsupported_grant_type"}`, misconfigured, nil},
		{"invalid_scope", 400, `{"error":"invalid_scope"}`, misconfigured, nil},
		{"invalid_request", 400, `{"error":"invalid_request"}`, misconfigured, nil},
		{"temporarily_unavailable", 400, `{"error":"temporarily_unavailable"}`, transient, nil},
		{"server_error", 500, `{"error":"server_error"}`, unknown, nil},
		{"request timeout", 408, ``, transient, nil},
		{"rate limit", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"m"}}`, transient, anthropicDialect},
		{"bad gateway page", 502, `<html></html>`, unknown, nil},
		{"gateway timeout", 504, ``, unknown, nil},
		{"internal error without words", 500, `{}`, unknown, nil},
		{"turned away", 503, `<html></html>`, transient, nil},
		{"challenge page", 403, `<html></html>`, transient, nil},
		{"country", 403, `{"error":{"code":"unsupported_country_region_territory","message":"m"}}`, transient, nil},
		{"proxy wants a login", 407, ``, transient, nil},
		{"empty 400", 400, ``, transient, nil},
		{"unknown words", 400, `{"error":"not_in_the_mood"}`, transient, nil},
		{"redirect", 302, ``, misconfigured, nil},
		{"anthropic: unknown refresh token", 404, `{"type":"error","error":{"type":"not_found_error","message":"m"}}`, permanent, anthropicDialect},
		{"anthropic: revoked", 401, `{"type":"error","error":{"type":"authentication_error","message":"m"}}`, permanent, anthropicDialect},
		{"not anthropic: 404 is a wrong path", 404, `{"type":"error","error":{"type":"not_found_error","message":"m"}}`, transient, nil},
		{"openai: reused", 401, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"refresh_token_reused"}}`, permanent, nil},
		{"openai: expired", 401, `{"error":{"code":"refresh_token_expired"}}`, permanent, nil},
		{"openai: invalidated", 401, `{"error":{"code":"refresh_token_invalidated"}}`, permanent, nil},
		{"openai: revoked", 401, `{"error":{"code":"refresh_token_revoked"}}`, permanent, nil},
		{"success that is a page", 200, `<html></html>`, unknown, nil},
		{"success that is empty", 200, ``, unknown, nil},
		{"success cut short", 200, `{"access_token":"at`, unknown, nil},
		{"success without access_token", 200, `{"refresh_token":"new"}`, unknown, nil},
		{"success with an error inside", 200, `{"error":"invalid_grant"}`, permanent, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, e := parsed(c.status, nil, c.body, c.words)
			if e == nil || e.Class != c.want || e.Status != c.status {
				t.Errorf("got %+v, want class %s, status %d", e, c.want, c.status)
			}
		})
	}
}

func TestAGrantIsReadWhateverTheServersHabits(t *testing.T) {
	for _, c := range []struct {
		name, body string
		life       time.Duration
		rotated    bool
	}{
		{"number", `{"access_token":"new","expires_in":28800,"refresh_token":"next"}`, 8 * time.Hour, true},
		{"string", `{"access_token":"new","expires_in":"600"}`, 10 * time.Minute, false},
		{"fraction", `{"access_token":"new","expires_in":1.5}`, 1500 * time.Millisecond, false},
		{"less than a second", `{"access_token":"new","expires_in":1e-9}`, time.Hour, false},
		{"more than a number", `{"access_token":"new","expires_in":1e999}`, time.Hour, false},
		{"an object", `{"access_token":"new","expires_in":{"seconds":60}}`, time.Hour, false},
		{"a byte order mark", "\ufeff" + `{"access_token":"new","expires_in":60}`, time.Minute, false},
		{"something after it", `{"access_token":"new","refresh_token":"next","expires_in":60}` + "\n<!-- cached -->", time.Minute, true},
		{"a form", `access_token=new&expires_in=28800&refresh_token=next&scope=&token_type=bearer`, 8 * time.Hour, true},
		{"a form without a lifetime", `access_token=new&scope=repo%2Cgist&token_type=bearer`, time.Hour, false},
		{"absent lifetime: the driver's", `{"access_token":"new"}`, time.Hour, false},
		{"null lifetime and refresh token", `{"access_token":"new","expires_in":null,"refresh_token":null}`, time.Hour, false},
		{"lifetime of nothing", `{"access_token":"new","expires_in":0,"refresh_token":"next"}`, time.Hour, true},
		{"negative lifetime", `{"access_token":"new","expires_in":"-1"}`, time.Hour, false},
		{"lifetime in words", `{"access_token":"new","expires_in":"40s"}`, time.Hour, false},
		{"an error beside the grant", `{"access_token":"new","refresh_token":"next","error":false}`, time.Hour, true},
		{"scope as a list", `{"access_token":"new","refresh_token":"next","scope":["a","b"]}`, time.Hour, true},
		{"unknown keys", `{"access_token":"new","account":{"uuid":"u"},"organization":{}}`, time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, e := parsed(200, nil, c.body, nil)
			if e != nil {
				t.Fatal(e)
			}
			if !g.AccessToken.Equal(tokenstore.NewSecret("new")) || g.ExpiresIn != c.life {
				t.Errorf("got lifetime %v, want %v, or another token", g.ExpiresIn, c.life)
			}
			if c.rotated != g.RefreshToken.Equal(tokenstore.NewSecret("next")) || !c.rotated && !g.RefreshToken.IsZero() {
				t.Error("the refresh token is wrong")
			}
		})
	}
}

func TestTheTokenEndpointsWishToWaitIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // now is 2000-01-01 00:00:00 UTC
		for value, want := range map[string]time.Duration{
			"30": 30 * time.Second, "Sat, 01 Jan 2000 00:10:00 GMT": 10 * time.Minute, "86400": 15 * time.Minute,
			"Fri, 31 Dec 1999 00:00:00 GMT": 0, "-1": 0, "later": 0, "": 0,
		} {
			_, e := parsed(429, http.Header{"Retry-After": {value}}, ``, nil)
			if e == nil || e.RetryAfter != want {
				t.Errorf("%q: got %+v, want %v", value, e, want)
			}
		}
	})
}

func TestAnErrorIsReducedToProtocolFields(t *testing.T) {
	_, e := parsed(400, nil,
		`{"error":"invalid_grant","error_description":"`+strings.Repeat("é", 400)+`","hint":"internal-host"}`, nil)
	if len(e.Message) > 256 || !utf8.ValidString(e.Message) || strings.Contains(e.Error(), "internal-host") {
		t.Errorf("%d bytes: %q", len(e.Message), e.Error())
	}
	if _, e = parsed(502, nil, `<html>internal-host</html>`, nil); strings.Contains(e.Error(), "internal-host") {
		t.Errorf("a raw body is in the error: %q", e.Error())
	}
	if _, e = parsed(400, nil, `{"error":"invalid_grant","error_description":"a\r\nb\u0000c"}`, nil); strings.ContainsAny(e.Message, "\r\n\x00") {
		t.Errorf("control characters are in the error: %q", e.Message)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(200, `{"access_token":"new","expires_in":3600}`, "")
	f.Add(200, `{"access_token":"new","expires_in":1e-300}`, "")
	f.Add(200, `{"access_token":"new","expires_in":9e99}`, "")
	f.Add(400, `{"error":"invalid_grant"}`, "30")
	f.Add(200, `access_token=new&expires_in=1`, "")
	f.Add(400, `{"error":{"code":7}}`, "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Add(503, ``, "NaN")
	f.Fuzz(func(t *testing.T, status int, body, retry string) {
		if status < 200 {
			return // no final status
		}
		g, e := parsed(status, http.Header{"Retry-After": {retry}}, body, anthropicDialect)
		switch {
		case e == nil && (status >= 300):
			t.Fatalf("status %d grants a token", status)
		case e == nil && (g.AccessToken.IsZero() || g.ExpiresIn <= 0):
			t.Fatalf("a grant without token or lifetime: %v", g.ExpiresIn)
		case e != nil && (len(e.Message) > 256 || len(e.Code) > 256 || e.RetryAfter < 0):
			t.Fatalf("out of bounds: %+v", e)
		case e != nil && e.Class == tokenstore.RefreshNotSent:
			t.Fatal("an answer proves that the request was sent")
		}
	})
}
