package provider

import (
	"regexp"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// The driver for Anthropic's API. Endpoints and headers are as in Anthropic's Python SDK (lib/credentials) and, for
// CLAUDE_CODE, as public clients of the subscription login use them.
var anthropicSpec = Spec{
	Name:       "anthropic",
	DefaultURL: "https://api.anthropic.com",
	Kinds:      anthropicKinds,
	Shows:      append([]string{betaHeader}, everyoneShows...),
	Owns:       []string{betaHeader},
	Asks:       []string{"anthropic-version: 2023-06-01"},
	Credentials: Credentials{
		Organisations: []string{"anthropic-organization-id", "anthropic-workspace-id"},
	},
	New: func(s Settings) (tokenstore.Driver, error) {
		d, err := newDriver(s, anthropicKinds, anthropicDialect, showAnthropic)
		if err != nil {
			return nil, err
		}
		d.ask = askGrant{ // an hour is what the SDK assumes
			json: true, style: "params", headers: map[string]string{betaHeader: oauthBeta}, lifetime: time.Hour,
		}
		return d, nil
	},
}

const (
	betaHeader = "anthropic-beta"
	oauthBeta  = "oauth-2025-04-20"
)

// Without a client id somebody else rotates the token, as in the SDK.
var anthropicKinds = []Kind{
	{
		Name: tokenstore.KindAnthropicOAuth, Needs: []string{"client_id", "refresh_token"}, OrToken: true,
		Grant: "refresh_token", TokenURL: "https://api.anthropic.com/v1/oauth/token",
	},
	{
		Name: tokenstore.KindClaudeCode, Needs: []string{"client_id", "refresh_token"}, OrToken: true,
		Grant: "refresh_token", TokenURL: "https://platform.claude.com/v1/oauth/token",
	},
	{Name: tokenstore.KindAPIKey, Needs: []string{"api_key"}},
}

// showAnthropic: with both headers present the key would win, so an OAuth attempt has no x-api-key.
func showAnthropic(r tokenstore.Record) []tokenstore.Header {
	if r.Kind == tokenstore.KindAPIKey {
		return []tokenstore.Header{{Name: "x-api-key", Value: reveal(r.APIKey)}}
	}
	return []tokenstore.Header{bearer(r.AccessToken), {Name: betaHeader, Value: oauthBeta, Merge: true}}
}

const anthropicErrors = "Anthropic API docs, Errors"

var anthropicDialect = newDialect(errorOf, anthropicShape, anthropicOwn)

// anthropicOwn are the words that mean this with Anthropic alone: others mean a wrong path by 404.
var anthropicOwn = tables{
	refusals: []rule[tokenstore.RefreshClass]{ // reported for unknown and for revoked refresh tokens
		{when{status: []int{404}, exact: exact{"not_found_error"}}, tokenstore.RefreshPermanent, unsourced},
		{when{status: []int{401}, exact: exact{"authentication_error"}}, tokenstore.RefreshPermanent, unsourced},
	},
}

// anthropicSays are Anthropic's words that gateways pass on, so that other dialects know them, too.
var anthropicSays = tables{
	rules: []rule[verdict]{
		{when{status: account, text: says(
			"this organization has been disabled", "organization has been disabled", "your organization has been disabled",
		)}, blocked, "answers/anthropic/40*-organisation-disabled.txt"},
		{when{status: account, text: says(
			"oauth authentication is currently not allowed for this organization",
			"oauth authentication is not allowed for this organization",
		)}, blocked, "answers/anthropic/403-oauth-not-allowed-for-organisation.txt"},
		{when{status: []int{400, 429}, code: codes("billing_error")}, broke, anthropicErrors},
		{when{status: []int{400, 429}, code: codes("credit_balance_too_low")}, broke, unsourced},
		{when{status: []int{400, 429}, text: says(
			"your credit balance is too low to access the anthropic api",
			"your credit balance is too low to access the claude api",
			"your credit balance is too low to access the claude api. "+
				"please go to plans & billing to upgrade or purchase credits",
			"your credit balance is too low to access the anthropic api. "+
				"please go to plans & billing to upgrade or purchase credits",
		)}, broke, "answers/anthropic/400-credit-balance.txt"},
		{when{status: []int{403}, text: says(
			"oauth token has been revoked", "oauth token has been revoked. please obtain a new token",
			"oauth token has expired",
			"oauth token has expired. please obtain a new token or refresh your existing token",
		)}, rejected, "answers/anthropic/403-token-revoked.txt"},
		{when{status: []int{403}, text: says("invalid bearer token")}, rejected, "answers/anthropic/401-invalid-bearer.txt"},
		{when{status: []int{401}, word: codes("permission_error", "not_found_error")}, forbidden, anthropicErrors},
		{
			when{status: []int{401}, like: regexp.MustCompile(`(?is)oauth.*not supported|not supported.*oauth`)},
			misconfigured, "answers/anthropic/401-oauth-not-supported.txt",
		},
		// The request asks for what the plan does not include: no rate limit.
		{
			when{status: []int{429}, like: regexp.MustCompile(`(?i)extra usage is required`)},
			forbidden, "answers/anthropic/429-extra-usage.txt",
		},
		{when{status: []int{429}, like: regexp.MustCompile(`(?i)long context beta is not|fast mode`)}, forbidden, unsourced},
	},
	limits: limits{
		buckets: []bucket{
			{"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
			{"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
			{"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"},
			{"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"},
		},
		windows: []func(*signals){unifiedWindows},
		room: []string{
			"anthropic-ratelimit-unified-status", "anthropic-ratelimit-requests-remaining",
			"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-input-tokens-remaining",
			"anthropic-ratelimit-output-tokens-remaining",
		},
	},
}

// unifiedWindows reads the windows of a subscription. While the whole is allowed, the refusal was for something else.
func unifiedWindows(s *signals) {
	const all, reset = "anthropic-ratelimit-unified-status", "anthropic-ratelimit-unified-reset"
	status := s.h.Get(all)
	if strings.HasPrefix(status, "allowed") { // or allowed_warning
		return
	}
	s.window(status == "rejected", s.instant(reset))
	for _, w := range [][2]string{
		{"anthropic-ratelimit-unified-5h-status", "anthropic-ratelimit-unified-5h-reset"},
		{"anthropic-ratelimit-unified-7d-status", "anthropic-ratelimit-unified-7d-reset"},
	} {
		if s.h.Get(w[0]) == "rejected" {
			s.window(true, s.instant(w[1]))
		}
	}
}

// anthropicShape is Anthropic's error object.
func anthropicShape(ref tokenstore.Refusal) map[string]any {
	kind := "api_error"
	if ref.Status == 429 {
		kind = "rate_limit_error"
	}
	return map[string]any{
		"type":  "error",
		"error": map[string]string{"type": kind, "message": refusalText(ref)},
	}
}
