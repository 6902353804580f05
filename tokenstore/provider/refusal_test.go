package provider

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

const springPage = `{"timestamp":"2026-01-01T00:00:00Z","status":500,"error":"Internal Server Error","path":"/token"}`

func TestA5xxSaysOnlyInTheWordsOfTheRFCThatNoGrantWasProcessed(t *testing.T) {
	const (
		away    = tokenstore.RefreshTransient
		unknown = tokenstore.RefreshUnknown
	)
	for body, want := range map[string]tokenstore.RefreshClass{
		`{"error":"temporarily_unavailable"}`:                                away,
		`{"error":"invalid_client"}`:                                         tokenstore.RefreshMisconfigured,
		`{"error":"invalid_request","error_description":"m"}`:                tokenstore.RefreshMisconfigured,
		`{"error":"invalid_grant"}`:                                          tokenstore.RefreshPermanent,
		springPage:                                                           unknown,
		`{"type":"error","error":{"type":"api_error","message":"m"}}`:        unknown,
		`{"type":"error","error":{"type":"overloaded_error","message":"m"}}`: unknown,
		`{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}`:        unknown,
		`{"error":{"code":"temporarily_unavailable"}}`:                       unknown,
		`{"error":{"type":"invalid_grant"}}`:                                 unknown,
		`{"error":"server_error"}`:                                           unknown,
		`{"error":"bad_refresh_token"}`:                                      unknown,
		`{"error":"internal_error"}`:                                         unknown,
		`{"error":true}`:                                                     unknown,
		`{"error":1}`:                                                        unknown,
		`{"error":[]}`:                                                       unknown,
		`{"error":{}}`:                                                       unknown,
		`error=Internal+Server+Error`:                                        unknown,
		"upstream connect error or disconnect/reset before headers. reset reason: overflow": unknown,
	} {
		for _, status := range []int{500, 501, 502, 503, 504, 520, 521, 524, 529, 599} {
			_, e := parsed(status, nil, body, anthropicDialect)
			if status == 521 && strings.HasPrefix(body, "upstream") {
				continue // not Envoy's
			}
			if e == nil || e.Class != want || e.Status != status || e.Error() == "" {
				t.Errorf("%d %s: got %+v, want %s", status, body, e, want)
			}
		}
	}
}

func TestABareServerErrorIsOfUnknownOutcomeUnlessNothingWasPassedOn(t *testing.T) {
	away := map[int]bool{503: true, 521: true, 523: true, 525: true, 526: true}
	for status := 500; status < 600; status++ {
		want := tokenstore.RefreshUnknown
		if away[status] {
			want = tokenstore.RefreshTransient
		}
		for _, body := range []string{"", "<html><body>error</body></html>", `{}`, `{"message":"m"}`, `{"error":null}`, `{"error":""}`, "no healthy upstream"} {
			if _, e := parsed(status, nil, body, nil); e == nil || e.Class != want {
				t.Errorf("%d %q: got %+v, want %s", status, body, e, want)
			}
		}
	}
}

// What is found in a 503 of gateways that also answer so when the grant was passed on.
func TestA503OfAGatewayThatMayHavePassedTheGrantOnIsOfUnknownOutcome(t *testing.T) {
	for _, body := range []string{
		"upstream request timeout",
		`{"message":"Service Unavailable"}`, // AWS, after 30 s
		`<html><iframe src="//www.herokucdn.com/error-pages/application-error.html"></iframe></html>`,
		`<title>503 first byte timeout</title>`, `<h1>Error 503 Backend fetch failed</h1>`, `<title>503 backend read error</title>`,
	} {
		if _, e := parsed(503, nil, body, nil); e == nil || e.Class != tokenstore.RefreshUnknown {
			t.Errorf("%s: got %+v", body, e)
		}
	}
}

func TestADeadGrantIsRecognizedHoweverItIsWrittenAndWhereverItStands(t *testing.T) {
	for body, message := range map[string]string{
		`{"error":"Invalid Grant"}`: "",
		`{"error":"InvalidGrant"}`:  "",
		`{"code":"invalid_grant"}`:  "",
		// HubSpot
		`{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`: "missing or invalid refresh token",
		// Supabase
		`{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token"}`: "Invalid Refresh Token",
		`{"code":400,"error_code":"refresh_token_already_used","msg":"Already Used"}`:       "Already Used",
		// Atlassian
		`{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`: "refresh_token is invalid",
	} {
		for _, status := range []int{400, 401, 403} {
			_, e := parsed(status, nil, body, nil)
			if e == nil || e.Class != tokenstore.RefreshPermanent || e.Message != message {
				t.Errorf("%d %s: got %+v", status, body, e)
			}
		}
	}
	for status, body := range map[int]string{202: `{"status":"pending"}`, 503: `{"code":"invalid_grant"}`} {
		if _, e := parsed(status, nil, body, nil); e == nil || e.Class != tokenstore.RefreshUnknown ||
			status < 300 && e.Code != "" {
			t.Errorf("%d %s: got %+v", status, body, e)
		}
	}
}

func TestEveryWordForADeadGrantIsOne(t *testing.T) {
	for _, word := range corpus(t, "dead grants") {
		for shape, body := range map[string]string{
			"text":      fmt.Sprintf(`{"error":%q,"error_description":"m"}`, word),
			"code":      fmt.Sprintf(`{"error":{"code":%q,"message":"m","type":"invalid_request_error"}}`, word),
			"type":      fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":"m"}}`, word),
			"form":      "error=" + word + "&error_description=m",
			"not grant": fmt.Sprintf(`{"error":%q,"error_description":"m","access_token":""}`, word),
		} {
			for _, status := range []int{200, 400, 401, 403, 404} {
				_, e := parsed(status, nil, body, nil)
				if e == nil || e.Class != tokenstore.RefreshPermanent || !strings.EqualFold(e.Code, word) || e.Message != "m" {
					t.Errorf("%d %s %s: got %+v", status, shape, word, e)
				}
			}
		}
	}
}

func TestARefusalInOtherWordsIsNoProofOfDeathAndKeepsItsMessage(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   tokenstore.RefreshClass
		words  string
	}{
		{400, `{"error":{"code":400,"message":"Token has been expired or revoked.","status":"INVALID_ARGUMENT"}}`, tokenstore.RefreshPermanent, "INVALID_ARGUMENT: Token has been expired or revoked."},
		{400, `{"error":{"code":400,"message":"The parameter is out of range.","status":"INVALID_ARGUMENT"}}`, tokenstore.RefreshTransient, "INVALID_ARGUMENT: The parameter is out of range."},
		{400, `{"error":{"code":400,"message":"Bad."}}`, tokenstore.RefreshTransient, "400: Bad."},
		{400, `{"error":17,"message":"Bad."}`, tokenstore.RefreshTransient, "400: Bad."},
		{400, `{"error":true,"error_description":"Bad."}`, tokenstore.RefreshTransient, "400: Bad."},
		{401, `{"error":"Unauthorized","message":"Full authentication is required"}`, tokenstore.RefreshTransient, "Unauthorized: Full authentication is required"},
		{403, `{"type":"about:blank","title":"Forbidden","detail":"Not from here."}`, tokenstore.RefreshTransient, "Not from here."},
		{403, `<html>blocked</html>`, tokenstore.RefreshTransient, "perhaps a proxy or firewall"},
		{404, "404 page not found", tokenstore.RefreshTransient, "perhaps a proxy or firewall"},
		{429, `{"error":"invalid_grant"}`, tokenstore.RefreshTransient, "invalid_grant"},
		{408, ``, tokenstore.RefreshTransient, ""},
		{499, ``, tokenstore.RefreshUnknown, "does not say whether"},
		{400, `{"error":"server_error"}`, tokenstore.RefreshUnknown, "server_error"},
		{200, `{"error":"incorrect_client_credentials"}`, tokenstore.RefreshMisconfigured, "incorrect_client_credentials"},
		{200, `{"error":"temporarily_unavailable"}`, tokenstore.RefreshTransient, ""},
		{200, `{"error":"out_of_paper"}`, tokenstore.RefreshUnknown, "out_of_paper"},
		{200, `{"error":true}`, tokenstore.RefreshUnknown, ""},
		{200, `{"error":{"type":"api_error","message":"m"}}`, tokenstore.RefreshUnknown, "api_error: m"},
		{204, ``, tokenstore.RefreshUnknown, ""},
		{200, `access_token=`, tokenstore.RefreshUnknown, "no access_token"},
		{200, `<a href="/?x=1&access_token=stray">`, tokenstore.RefreshUnknown, "neither JSON nor a form"},
		{307, ``, tokenstore.RefreshMisconfigured, "redirects"},
	} {
		_, e := parsed(c.status, nil, c.body, nil)
		if e == nil || e.Class != c.want || !strings.Contains(e.Error(), c.words) {
			t.Errorf("%d %s: got %v, want %s with %q", c.status, c.body, e, c.want, c.words)
		}
	}
}
