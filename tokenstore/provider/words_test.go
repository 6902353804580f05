package provider

import (
	"net/http"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// The providers' shapes and words, and texts that hold the client's.
func TestWordsOfTheRequestNeitherRaiseAVerdictNorHideTheProviders(t *testing.T) {
	const (
		rejected  = tokenstore.ClassTokenRejected
		forbidden = tokenstore.ClassForbidden
		blocked   = tokenstore.ClassAccountBlocked
		billing   = tokenstore.ClassBilling
		fault     = tokenstore.ClassRequestFault
	)
	for _, c := range []struct {
		status          int
		challenge, body string
		want            tokenstore.Class
	}{
		// no "error" around it, or another type than usual
		{401, "", `{"code":"missing_scope","message":"no"}`, forbidden},
		{401, "", `{"message":"Missing scopes: model.request"}`, forbidden},
		{401, "", `{"detail":"Missing scope model.request"}`, forbidden},
		{401, "", `{"error":"Missing scopes: model.request"}`, forbidden},
		{401, "", `{"error":"insufficient_scope","error_description":"x"}`, forbidden},
		{401, "", `{"error":"Unauthorized","message":"Insufficient permissions","statusCode":401}`, forbidden},
		{401, "", `{"errors":[{"code":"missing_scope","message":"no"}]}`, forbidden},
		{401, "", `{"type":"about:blank","title":"Missing scope","status":401}`, forbidden},
		{401, "", `{"error":{"code":"missing_scope","status":401,"message":"no"}}`, forbidden},
		{401, "", `{"error":{"code":"missing_scope","type":7,"message":["no"]}}`, forbidden},
		{401, "", `{"error":{"code":"401","type":"permission_error","message":"no"}}`, forbidden},
		{401, "", `{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}`, forbidden},
		{401, "", `{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED","details":[{"reason":"ACCESS_TOKEN_EXPIRED"}]}}`, rejected},
		{401, "", `{"error":{"code":"PermissionDenied","message":"The principal lacks the required data action"}}`, forbidden},
		{401, "", `{"error":{"code":"mismatched_organization","message":"OpenAI-Organization header should match organization for API key"}}`, forbidden},
		{401, "", `{"error":{"code":"invalid_organization","message":"No such organization: org-x."}}`, forbidden},
		{401, "", `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`, rejected},
		{401, "", `{"error":{"code":"InvalidAuthenticationToken","message":"Lifetime validation failed, the token is expired."}}`, rejected},
		{401, "", `{"error":{"status":401,"message":"The access token expired"}}`, rejected},
		{401, "", `not json`, rejected},
		{403, "", `{"code":"token_expired","message":"no"}`, rejected},
		{403, "", `{"error":{"code":"403","type":"invalid_token","message":"no"}}`, rejected},
		{403, "", `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no","details":[{"reason":"CONSUMER_SUSPENDED"}]}}`, blocked},
		{400, "", `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Claude API. Please go to Plans & Billing to upgrade or purchase credits."}}`, billing},

		{402, "", `{"error":{"code":402,"message":"This request requires more credits, or fewer max_tokens. You requested up to 9 tokens, but can only afford 3"}}`, forbidden},
		{402, "", `{"error":{"code":402,"message":"Insufficient credits"}}`, billing},

		{401, "", `{"error":{"message":"Your token lacks the required scope 'model.write'"}}`, forbidden},
		{401, "", `{"error":{"message":"This token doesn't have the model.request scope"}}`, forbidden},
		{401, "", `{"error":{"message":"Invalid scope: this token does not include api.responses.write"}}`, forbidden},
		{401, "", `{"error":{"message":"Token is missing the following scopes: a"}}`, forbidden},
		{401, "", `{"error":"Required scope: api.write"}`, forbidden},
		{401, "", `{"error":{"message":"No access to model foo"}}`, forbidden},
		{401, "", `{"error":{"message":"Unrecognized model: claude-9"}}`, forbidden},

		// a revoked token's words that sound like the request's must not keep it from its refresh
		{401, "", `{"error":{"message":"You are not authorized to access this resource"}}`, rejected},
		{401, "", `{"message":"Not authorized to continue: sign in again"}`, rejected},
		{401, "", `{"message":"The token has expired or lacks the required scope"}`, rejected},
		{401, "", `{"error":{"code":"invalid_token","message":"No scope"}}`, rejected},
		{401, "", `{"error":{"message":"You are not allowed to use this model"}}`, forbidden},
		{401, "", `{"error":{"message":"You do not have access to model gpt-9"}}`, forbidden},

		// the client's words
		{400, "", `{"error":{"message":"unknown role 'account_deactivated'","code":"invalid_value"}}`, fault},
		{400, "", `{"error":{"message":"Invalid value: organization has been disabled"}}`, fault},
		{403, "", `{"error":{"message":"model 'token has expired' is not yours","type":"permission_error"}}`, forbidden},
		{403, "", `{"error":"forbidden","message":"role token_revoked is unknown"}`, forbidden},
		{403, "", `{"detail":"no model named invalid_token"}`, forbidden},
		{403, `Bearer realm="/v1/x, error=invalid_token"`, `{}`, forbidden},
		{403, `Bearer error_description="no model 'y, error=invalid_token'", error="insufficient_scope"`, `{}`, forbidden},
		{403, `Bearer realm="a \" error=invalid_token"`, `{}`, forbidden},
		{401, `Bearer realm="x, error=insufficient_scope"`, `{}`, rejected},
		{403, `Bearer error=invalid_token`, `{}`, rejected},
		{401, `Basic realm="x", Bearer realm="y",error = "insufficient_scope"`, `{}`, forbidden},
	} {
		for _, name := range Names() {
			h := http.Header{}
			if c.challenge != "" {
				h.Set("www-authenticate", c.challenge)
			}
			v := mustDriver(t, Settings{Driver: name}).Classify(tokenstore.Response{
				Status: c.status, Header: h, Body: []byte(c.body), BodyRead: true,
			})
			if v.Class != c.want {
				t.Errorf("%s: %d %s %s: %s, want %s", name, c.status, c.challenge, c.body, v.Class, c.want)
			}
		}
	}
}
