package provider

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

// The words that providers use for what is wrong. Codes and types are the provider's alone. A message may quote the request,
// so it counts against an account only as a whole sentence that providers are known to say, word for word.

// tokenCodes say that the token itself is refused: RFC 6750, OpenAI, Google.
var tokenCodes = []string{
	"invalid_token", "expired_token", "token_expired", "token_revoked", "token_invalidated", "token_invalid", "invalid_api_key", "api_key_invalid",
	"unauthenticated", "access_token_expired", "access_token_type_unsupported", "credentials_missing", "account_session_expired",
}

// requestCodes say that the token is fine and this request is not for it.
var requestCodes = []string{
	"missing_scope", "missing_scopes", "insufficient_scope", "insufficient_scopes", "insufficient_permissions", "insufficient_permission",
	"access_token_scope_insufficient", "permission_error", "permission_denied", "not_authorized_for_resource",
	"model_not_found", "unknown_model", "invalid_model", "model_not_available", "unsupported_model", "not_found", "not_found_error",
	"model_not_supported", "mismatched_organization", "invalid_organization", "mismatched_project", "invalid_project", "unsupported_parameter", "invalid_parameter", "unknown_parameter", "ip_not_authorized", "mtls_required",
}

var blockedCodes = []string{
	"account_deactivated", "account_disabled", "account_suspended", "organization_disabled", "organization_deactivated", "deactivated_workspace",
	"user_suspended", "consumer_suspended", "billing_disabled_account",
}

var brokeCodes = []string{"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active", "credit_balance_too_low"}

// Whole sentences, in lower case, without the full stop at the end.

var blockedSentences = []string{
	"this organization has been disabled", "organization has been disabled", "your organization has been disabled",
	"this account has been disabled", "your account has been disabled", "account has been disabled",
	"oauth authentication is currently not allowed for this organization", "oauth authentication is not allowed for this organization",
}

var revokedSentences = []string{
	"oauth token has been revoked", "oauth token has been revoked. please obtain a new token",
	"oauth token has expired", "oauth token has expired. please obtain a new token or refresh your existing token",
	"token has been revoked", "token has expired", "the access token expired", "the access token has expired", "the access token was revoked",
	"access token has expired", "access token has been revoked", "token has been expired or revoked", "invalid bearer token",
}

var brokeSentences = []string{
	"your credit balance is too low to access the anthropic api",
	"your credit balance is too low to access the claude api",
	"your credit balance is too low to access the claude api. please go to plans & billing to upgrade or purchase credits",
	"your credit balance is too low to access the anthropic api. please go to plans & billing to upgrade or purchase credits",
	"you exceeded your current quota, please check your plan and billing details",
}

// requestWords in a 401's message lower it to a matter of this request. That a client's words may be among them does no harm:
// the answer then passes to that client and nobody is blamed.
var requestWords = regexp.MustCompile(`(?i)missing (the )?(required )?(oauth )?(scope|permission)|insufficient[ _-](permission|scope|privilege|access|authentication scope)|` +
	`(scope|permission)s? (is |are )?(required|missing|not granted)|scope requirement|do(es)?(n't| not) have (access|permission)|` +
	`not (authori[sz]ed|permitted|allowed|enabled) (to|for) (\w+ ){0,2}(model|endpoint|operation|action|method|feature|project|organi[sz]ation)\b|` +
	`(unknown|unsupported|unrecogni[sz]ed|invalid|no such) model|model\b.{0,200}\b(not found|does not exist|not (available|supported)|unknown)`)

// scopeWords do the same, but not where the token may have ended as well (endWords).
var (
	scopeWords = regexp.MustCompile(`(?i)(\b(missing|lacks?|lacking|without|requires?|required|invalid|insufficient|no|not)|` +
		`n't (include|have))\b.{0,80}\bscopes?\b|\bno access to (the |this )?model\b`)
	endWords = regexp.MustCompile(`(?i)\b(expired|revoked)\b`)
)

func (e said) is(words []string) bool { return among(words, e.name()) }

// among finds a word however it is written: token_expired, TokenExpired, TOKEN-EXPIRED.
func among(words []string, said string) bool {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
	}
	said = plain(said)
	return slices.ContainsFunc(words, func(w string) bool { return plain(w) == said })
}

func (e said) says(sentences []string) bool {
	return slices.Contains(sentences, strings.ToLower(strings.TrimRight(strings.TrimSpace(e.message), ".! ")))
}

func (e said) blocked() bool { return e.is(blockedCodes) || e.says(blockedSentences) }

func (e said) broke() bool { return e.is(brokeCodes) || e.says(brokeSentences) }

func (e said) revoked() bool { return e.says(revokedSentences) }

// aboutToken reports an error that is surely the token's.
func (e said) aboutToken() bool { return e.is(tokenCodes) }

// aboutRequest reports a 401 that is this request's affair.
func (e said) aboutRequest() bool {
	text := clipMessage(e.message)
	return e.is(requestCodes) || among(requestCodes, e.kind) || !e.revoked() && requestWords.MatchString(text) ||
		!endWords.MatchString(text) && scopeWords.MatchString(text)
}

// unsupported reports a refusal of the way that we authenticate.
func (e said) unsupported() bool {
	text := strings.ToLower(e.message)
	return strings.Contains(text, "oauth") && strings.Contains(text, "not supported")
}

// entitled reports a 429 that is no rate limit: the request asks for what the plan does not include.
func (e said) entitled() bool {
	text := strings.ToLower(e.message)
	return strings.Contains(text, "extra usage is required") || strings.Contains(text, "long context beta is not") || strings.Contains(text, "fast mode")
}

// unaffordable reports a 402 that a smaller request would not get.
func (e said) unaffordable() bool {
	text := strings.ToLower(e.message)
	return strings.Contains(text, "fewer max_tokens") || strings.Contains(text, "can only afford")
}

// parameter is one of a challenge. Quoted values are taken whole: a realm or a description may hold the request's words.
var parameter = regexp.MustCompile(`([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))`)

// challenged is the error code of a Bearer challenge (RFC 6750 section 3), "" without one.
func challenged(h tokenstore.HeaderGetter) string {
	for _, m := range parameter.FindAllStringSubmatch(h.Get("www-authenticate"), -1) {
		if strings.EqualFold(m[1], "error") {
			return strings.ToLower(m[2] + m[3])
		}
	}
	return ""
}
