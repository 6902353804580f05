package provider

import (
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// everyone is whose words may come from behind any driver's URL: gateways pass answers on, and servers speak each
// other's API. Every dialect knows them.
var everyone = []tables{standard, anthropicSays, openAI, google, copilot, openRouter, tokenEndpoints, others}

// everyoneShows are the headers that their tables read.
var everyoneShows = []string{
	"retry-after", "retry-after-ms", "x-ms-retry-after-ms", "anthropic-ratelimit-*", "x-ratelimit-*", "x-rate-limit-*",
	"ratelimit-*", "x-codex-*", "x-usage-ratelimit-*", "x-quota-snapshot-*",
}

// The rest of this file are providers without a driver of their own, reached through oauth2 and api_key. One that gets
// a driver takes its tables along.

const (
	openAIErrors = "OpenAI API docs, Error codes"
	errorReasons = "google/api/error_reason.proto"
	googleOAuth  = "Google Identity docs, OAuth 2.0"
)

var openAI = tables{
	rules: []rule[verdict]{
		{when{status: account, code: codes("account_deactivated", "organization_deactivated")}, blocked, unsourced},
		{
			when{status: account, code: codes("deactivated_workspace")},
			blocked, "answers/oauth2/402-deactivated-workspace.txt",
		},
		{
			when{status: []int{400, 429}, code: codes("insufficient_quota")},
			broke, "answers/oauth2/429-insufficient-quota.txt",
		},
		{when{status: []int{400, 429}, text: says(
			"you exceeded your current quota, please check your plan and billing details",
		)}, broke, openAIErrors},
		{when{status: []int{400, 429}, code: codes("billing_hard_limit_reached", "billing_not_active")}, broke, unsourced},
		{when{status: []int{401, 403}, code: codes("invalid_api_key")}, rejected, "answers/api_key/401-invalid-key.txt"},
		{
			when{status: []int{401, 403}, code: codes("token_expired", "token_revoked", "token_invalidated")},
			rejected, "answers/oauth2/401-token-invalidated.txt",
		},
		{
			when{status: []int{401}, word: codes("missing_scope", "missing_scopes", "insufficient_permissions")},
			forbidden, "answers/api_key/401-missing-scope.txt",
		},
		{when{status: []int{401}, word: codes("model_not_found")}, forbidden, "answers/api_key/401-unknown-model.txt"},
		{when{status: []int{401}, word: codes(
			"mismatched_organization", "invalid_organization", "mismatched_project", "invalid_project", "ip_not_authorized",
			"unsupported_parameter", "invalid_parameter", "unknown_parameter",
		)}, forbidden, unsourced},
		{when{status: []int{403}, exact: exact{"unsupported_country_region_territory"}}, onTheWay, openAIErrors},
	},
	refusals: []rule[tokenstore.RefreshClass]{
		{
			when{code: codes("refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated")},
			tokenstore.RefreshPermanent, "openai/codex, codex-rs/login",
		},
		{when{code: codes(
			"refresh_token_invalid", "refresh_token_revoked", "token_invalidated", "app_session_terminated",
		)}, tokenstore.RefreshPermanent, unsourced},
	},
	limits: limits{
		asked:   []ask{{"retry-after-ms", time.Millisecond}, {"x-ms-retry-after-ms", time.Millisecond}}, // the latter Azure
		buckets: openAIBuckets(),
		windows: []func(*signals){codexWindow("x-codex-primary-"), codexWindow("x-codex-secondary-")},
		fields:  []ask{{"resets_in_seconds", time.Second}, {"resets_at", 0}}, // usage_limit_reached of the Codex backend
		room:    []string{"x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"},
	},
}

// openAIBuckets are those of OpenAI, Azure, and those who speak their API.
func openAIBuckets() (out []bucket) {
	for _, l := range []string{
		"requests", "tokens", "input-tokens", "output-tokens", "project-tokens",
		"requests-minute", "requests-hour", "requests-day", "tokens-minute", "tokens-hour", "tokens-day",
	} {
		out = append(out, bucket{"x-ratelimit-remaining-" + l, "x-ratelimit-reset-" + l})
	}
	return out
}

// codexWindow reads a window of OpenAI's Codex backend.
func codexWindow(prefix string) func(*signals) {
	after, at, percent := prefix+"reset-after-seconds", prefix+"reset-at", prefix+"used-percent"
	return func(s *signals) {
		d := s.span(after, time.Second)
		if d == 0 {
			d = s.instant(at)
		}
		used, err := strconv.ParseFloat(s.h.Get(percent), 64)
		if err != nil || used >= 100 {
			s.window(err == nil, d)
		}
	}
}

var google = tables{
	rules: []rule[verdict]{
		{when{status: account, code: codes("consumer_suspended")}, blocked, errorReasons},
		{when{status: []int{401, 403}, code: codes("unauthenticated")}, rejected, "google/rpc/code.proto"},
		{when{status: []int{401, 403}, code: codes(
			"api_key_invalid", "access_token_expired", "access_token_type_unsupported", "credentials_missing",
		)}, rejected, errorReasons},
		{when{status: []int{403}, text: says("token has been expired or revoked")}, rejected, googleOAuth},
		{when{status: []int{401}, word: codes("access_token_scope_insufficient")}, forbidden, errorReasons},
		{when{status: []int{401}, word: codes("permission_denied")}, forbidden, "google/rpc/code.proto"},
	},
	refusals: []rule[tokenstore.RefreshClass]{
		{when{code: codes("invalid_rapt")}, tokenstore.RefreshPermanent, "support.google.com/a/answer/9368756"},
		// Under INVALID_ARGUMENT.
		{when{text: says("token has been expired or revoked")}, tokenstore.RefreshPermanent, googleOAuth},
	},
	limits: limits{fields: []ask{
		{"retryDelay", time.Second},      // google.rpc.RetryInfo
		{"quotaResetDelay", time.Second}, // google.rpc.ErrorInfo
		{"quotaResetTimeStamp", 0},
	}},
}

var copilot = tables{
	rules: []rule[verdict]{
		{when{status: []int{401}, word: codes("model_not_supported")}, forbidden, "github/copilot-cli issue 639"},
	},
	limits: limits{
		asked: []ask{
			{"x-ratelimit-user-retry-after", time.Second}, {"x-ratelimit-quota-exceeded-retry-after", time.Second},
		},
		windows: []func(*signals){
			quota("x-usage-ratelimit-session"), quota("x-usage-ratelimit-weekly"),
			quota("x-quota-snapshot-chat"), quota("x-quota-snapshot-completions"),
			quota("x-quota-snapshot-premium_interactions"), quota("x-quota-snapshot-premium_models"),
		},
	},
}

// quota reads a window of Copilot: "ent=300&ovPerm=false&rem=0.0&rst=2026-01-01T00:00:00Z".
func quota(name string) func(*signals) {
	return func(s *signals) {
		v := s.h.Get(name)
		if v == "" {
			return
		}
		q, err := url.ParseQuery(v)
		if left, known := number(q.Get("rem")); err == nil && known && left <= 0 && q.Get("ovPerm") != "true" {
			s.window(true, instant(q.Get("rst"), s.now))
		}
	}
}

var openRouter = tables{
	rules: []rule[verdict]{
		// A smaller request would not get it.
		{
			when{status: []int{402}, like: regexp.MustCompile(`(?i)fewer max_tokens|can only afford`)},
			forbidden, "QwenLM/qwen-code issue 73",
		},
	},
	limits: limits{
		buckets: []bucket{{"x-ratelimit-remaining", "x-ratelimit-reset"}}, // GitHub, too
		room:    []string{"x-ratelimit-remaining"},
	},
}

// tokenEndpoints are authorization servers with words of their own.
var tokenEndpoints = tables{refusals: []rule[tokenstore.RefreshClass]{
	{when{code: codes("bad_refresh_token")}, tokenstore.RefreshPermanent, "GitHub docs, Refreshing user access tokens"},
	{when{code: codes("invalid_refresh_token")}, tokenstore.RefreshPermanent, "Slack API docs, oauth.v2.access"},
	{
		when{code: codes("refresh_token_not_found", "refresh_token_already_used", "session_expired", "session_not_found")},
		tokenstore.RefreshPermanent, "Supabase docs, Auth error codes",
	},
	{when{text: says("refresh_token is invalid")}, tokenstore.RefreshPermanent, unsourced}, // with unauthorized_client
	{when{code: codes(
		"expired_refresh_token", "revoked_refresh_token", "grant_expired", "grant_revoked", "session_terminated",
	)}, tokenstore.RefreshPermanent, unsourced},
	{
		when{exact: exact{"incorrect_client_credentials"}},
		tokenstore.RefreshMisconfigured,
		"GitHub docs, Troubleshooting OAuth app access token request errors",
	},
	{
		when{exact: exact{"bad_client_secret", "invalid_client_id"}},
		tokenstore.RefreshMisconfigured,
		"Slack API docs, oauth.v2.access",
	},
	{when{exact: exact{"bad_client_id", "invalid_client_secret"}}, tokenstore.RefreshMisconfigured, unsourced},
}}

// others are servers that speak OpenAI's API with words of their own.
var others = tables{rules: []rule[verdict]{
	{when{status: account, code: codes(
		"account_disabled", "account_suspended", "organization_disabled", "user_suspended", "billing_disabled_account",
	)}, blocked, unsourced},
	{when{status: account, text: says(
		"this account has been disabled", "your account has been disabled", "account has been disabled",
	)}, blocked, unsourced},
	{
		when{status: []int{401, 403}, code: codes("expired_token", "token_invalid", "account_session_expired")},
		rejected, unsourced,
	},
	{when{status: []int{401}, word: codes(
		"insufficient_permission", "not_authorized_for_resource", "unknown_model", "invalid_model", "model_not_available",
		"unsupported_model", "not_found", "mtls_required",
	)}, forbidden, unsourced},
}}
