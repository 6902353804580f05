package provider

import (
	"context"
	"encoding/json"

	"github.com/tokenward/tokenward/tokenstore"
)

// generic serves any RFC 6749 token endpoint (driver oauth2) and static keys (driver api_key). Errors are read in the
// shapes of RFC 6749, RFC 6750 and OpenAI's API.
type generic struct{ base }

// Check implements tokenstore.Driver.
func (d *generic) Check(r tokenstore.Record) error {
	if err := d.base.Check(r); err != nil {
		return err
	}
	switch r.Kind {
	case tokenstore.KindAPIKey:
		return need(map[string]bool{"api_key": !r.APIKey.IsZero()})
	case tokenstore.KindClientCredentials:
		return need(map[string]bool{"client_id": r.ClientID != "", "client_secret": !r.ClientSecret.IsZero()})
	case tokenstore.KindOAuthRefresh:
		if r.AccessToken.IsZero() {
			return need(map[string]bool{"refresh_token": !r.RefreshToken.IsZero()})
		}
		return nil
	case tokenstore.KindAnthropicOAuth, tokenstore.KindClaudeCode:
	}
	return &tokenstore.RecordError{Key: "type", Rule: "must be oauth_refresh, client_credentials or api_key with this driver"}
}

// Refreshable implements tokenstore.Driver.
func (d *generic) Refreshable(r tokenstore.Record) bool {
	return d.endpoint.url != "" && (r.Kind == tokenstore.KindOAuthRefresh && !r.RefreshToken.IsZero() || r.Kind == tokenstore.KindClientCredentials)
}

// Refresh implements tokenstore.Driver.
func (d *generic) Refresh(ctx context.Context, r tokenstore.Record) (tokenstore.Grant, error) {
	grant := "refresh_token"
	if r.Kind == tokenstore.KindClientCredentials {
		grant = "client_credentials"
	}
	return d.endpoint.redeem(ctx, request{json: d.endpoint.json, style: d.endpoint.style, grant: grant, record: r})
}

// Headers implements tokenstore.Driver.
func (d *generic) Headers(r tokenstore.Record) []tokenstore.Header {
	return append([]tokenstore.Header{bearer(d.Token(r))}, d.extra...)
}

// Classify implements tokenstore.Driver.
func (d *generic) Classify(resp tokenstore.Response) tokenstore.Verdict {
	return classify(unwrap(resp), openAIError)
}

// Shape implements tokenstore.Driver: the error object of OpenAI's API, which most compatible servers speak.
func (d *generic) Shape(ref tokenstore.Refusal) (string, []byte) {
	body, _ := json.Marshal(map[string]any{ // strings and numbers always marshal
		"error":     map[string]any{"message": words(ref), "type": "server_error", "code": string(ref.Reason)},
		"tokenward": about(ref),
	})
	return "application/json", body
}

// openAIError reads the error of every shape that providers and the servers before them are known to use.
func openAIError(body []byte) said { return errorOf(body) }
