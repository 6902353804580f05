package provider

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// Endpoints and headers as in Anthropic's Python SDK (lib/credentials) and, for CLAUDE_CODE, as public clients of the
// subscription login use them.
const (
	anthropicTokenURL  = "https://api.anthropic.com/v1/oauth/token"
	claudeCodeTokenURL = "https://platform.claude.com/v1/oauth/token"
	betaHeader         = "anthropic-beta"
	oauthBeta          = "oauth-2025-04-20"
	// anthropicLifetime is what the SDK assumes when expires_in is absent.
	anthropicLifetime = time.Hour
)

// anthropic is the driver for Anthropic's API: kinds ANTHROPIC_OAUTH, CLAUDE_CODE and api_key.
type anthropic struct{ base }

// Check implements tokenstore.Driver.
func (d *anthropic) Check(r tokenstore.Record) error {
	if err := d.base.Check(r); err != nil {
		return err
	}
	switch r.Kind {
	case tokenstore.KindAPIKey:
		return need(map[string]bool{"api_key": !r.APIKey.IsZero()})
	case tokenstore.KindAnthropicOAuth, tokenstore.KindClaudeCode:
		if r.AccessToken.IsZero() {
			return need(map[string]bool{"refresh_token": !r.RefreshToken.IsZero(), "client_id": r.ClientID != ""})
		}
		return nil
	case tokenstore.KindOAuthRefresh, tokenstore.KindClientCredentials:
	}
	return &tokenstore.RecordError{Key: "type", Rule: "must be ANTHROPIC_OAUTH, CLAUDE_CODE or api_key with the anthropic driver"}
}

// Refreshable implements tokenstore.Driver. Without a client id somebody else rotates the token, as in the SDK.
func (d *anthropic) Refreshable(r tokenstore.Record) bool {
	return r.Kind != tokenstore.KindAPIKey && !r.RefreshToken.IsZero() && r.ClientID != ""
}

// Refresh implements tokenstore.Driver.
func (d *anthropic) Refresh(ctx context.Context, r tokenstore.Record) (tokenstore.Grant, error) {
	url := anthropicTokenURL
	if r.Kind == tokenstore.KindClaudeCode {
		url = claudeCodeTokenURL
	}
	return d.endpoint.redeem(ctx, request{
		url: url, json: true, style: "params", grant: "refresh_token", record: r,
		headers: map[string]string{betaHeader: oauthBeta}, lifetime: anthropicLifetime, permanent: anthropicPermanent,
	})
}

// anthropicPermanent: refresh refusals that need a new login though their code is not RFC 6749's. 404 not_found_error and
// 401 authentication_error are reported for unknown and revoked refresh tokens.
func anthropicPermanent(status int, code string) bool {
	return status == 404 && code == "not_found_error" || status == 401 && code == "authentication_error"
}

// Headers implements tokenstore.Driver. With both headers present the key would win, so an OAuth attempt has no x-api-key.
func (d *anthropic) Headers(r tokenstore.Record) []tokenstore.Header {
	if r.Kind == tokenstore.KindAPIKey {
		return append([]tokenstore.Header{{Name: "x-api-key", Value: reveal(r.APIKey)}}, d.extra...)
	}
	return append([]tokenstore.Header{bearer(r.AccessToken), {Name: betaHeader, Value: oauthBeta, Merge: true}}, d.extra...)
}

// Classify implements tokenstore.Driver.
func (d *anthropic) Classify(resp tokenstore.Response) tokenstore.Verdict {
	return classify(unwrap(resp), anthropicError)
}

// Shape implements tokenstore.Driver: Anthropic's error object.
func (d *anthropic) Shape(ref tokenstore.Refusal) (string, []byte) {
	kind := "api_error"
	if ref.Status == 429 {
		kind = "rate_limit_error"
	}
	body, _ := json.Marshal(map[string]any{ // strings and numbers always marshal
		"type":      "error",
		"error":     map[string]string{"type": kind, "message": words(ref)},
		"tokenward": about(ref),
	})
	return "application/json", body
}

// anthropicError reads {"type":"error","error":{"type":…,"message":…}}, and what compatible servers answer.
func anthropicError(body []byte) said { return errorOf(body) }
