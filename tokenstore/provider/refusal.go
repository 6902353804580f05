package provider

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

// reply is a token endpoint's answer that grants nothing.
type reply struct {
	status   int
	problem  problem
	readable bool
	body     []byte
}

// deadWords say that only a new login helps: RFC 6749's invalid_grant and what servers say instead (GitHub, Slack,
// OpenAI, RFC 6750, RFC 8628, OpenID Connect).
var deadWords = []string{
	"invalid_grant", "bad_refresh_token", "invalid_refresh_token", "expired_refresh_token", "revoked_refresh_token",
	"refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated", "refresh_token_invalid",
	"refresh_token_revoked", "refresh_token_not_found", "expired_token", "invalid_token", "revoked_token", "token_expired",
	"token_revoked", "token_invalidated", "grant_expired", "grant_revoked", "app_session_terminated", "session_expired",
	"session_terminated", "session_not_found", "refresh_token_already_used", "invalid_rapt",
	"interaction_required", "login_required", "consent_required",
}

// deadSentences are told where the code says nothing, or something else. Whole and fixed, so that no echo of ours can be
// one.
var deadSentences = []string{
	"token has been expired or revoked", // Google, under INVALID_ARGUMENT
	"refresh_token is invalid",          // Atlassian, under unauthorized_client
}

// ourFault are RFC 6749's words for a request that is wrong whatever the credential, ourFaultToo what others say
// instead.
var (
	ourFault = []string{
		"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request",
	}
	ourFaultToo = []string{
		"incorrect_client_credentials", "bad_client_secret", "bad_client_id", "invalid_client_id", "invalid_client_secret",
	}
)

const (
	invalidGrant = "invalid_grant"
	unavailable  = "temporarily_unavailable"
	// serverError proves nothing: the server met something unexpected, perhaps after it had spent the grant.
	serverError = "server_error"
)

// refusalClass says what a reply that grants nothing means for the credential. Where it does not say surely that the
// grant was not processed the outcome is unknown, as with a broken connection: a strict server revokes what is
// presented twice.
func refusalClass(r request, a reply) tokenstore.RefreshClass {
	word := strings.ToLower(strings.ReplaceAll(a.problem.code, "-", "_"))
	switch {
	case a.status >= 300 && a.status < 400:
		return tokenstore.RefreshMisconfigured // it points elsewhere
	case a.status >= 500:
		return serverFaultClass(a, word)
	case a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout,
		a.status == http.StatusProxyAuthRequired:
		return tokenstore.RefreshTransient // whatever it says besides, the credential was not judged
	case r.permanent != nil && r.permanent(a.status, word), among(deadWords, a.problem.code),
		slices.Contains(deadSentences, strings.ToLower(strings.TrimRight(a.problem.message, ". "))):
		return tokenstore.RefreshPermanent
	case slices.Contains(ourFault, word), slices.Contains(ourFaultToo, word):
		return tokenstore.RefreshMisconfigured
	case word == unavailable:
		return tokenstore.RefreshTransient
	case word == serverError, a.status < 300, a.status == clientClosed:
		return tokenstore.RefreshUnknown
	}
	return tokenstore.RefreshTransient // refused in words that we do not know, or by what stands in front of the endpoint
}

// clientClosed is the status that nginx and Envoy's kin note when who asked has left: the grant may have got through.
const clientClosed = 499

// serverFaultClass is refusalClass for 5xx. Pages, and the errors of frameworks and gateways, come before, during and
// after a grant; only RFC 6749's own words prove that there was none.
func serverFaultClass(a reply, word string) tokenstore.RefreshClass {
	switch {
	case !a.problem.oauth && (word != "" || a.problem.odd):
		return tokenstore.RefreshUnknown
	case word == invalidGrant:
		return tokenstore.RefreshPermanent
	case slices.Contains(ourFault, word):
		return tokenstore.RefreshMisconfigured
	case word == unavailable, word == "" && turnedAway(a):
		return tokenstore.RefreshTransient
	}
	return tokenstore.RefreshUnknown
}

// passedOn is found in the 503 of gateways that answer so, too, when the request had gone out and no answer came in time
// or the connection broke.
var passedOn = regexp.MustCompile(`(?i)upstream connect error or disconnect/reset before headers|upstream request timeout|` + // Envoy
	`^\s*{\s*"message"\s*:\s*"Service Unavailable"\s*}\s*$|` + // AWS's HTTP APIs after 30 s
	`herokucdn\.com/error-pages|` + // H12, H13
	`(first byte|between bytes) timeout|backend (fetch failed|read error)`) // Fastly, Varnish

// turnedAway reports whether a bare status means that nothing was passed on: 503, and what CDNs say of an origin that
// they could not reach (Cloudflare's 521, 523, 525, 526).
func turnedAway(a reply) bool {
	switch a.status {
	case http.StatusServiceUnavailable:
		return !passedOn.Match(a.body)
	case 521, 523, 525, 526:
		return true
	}
	return false
}

// meaning is the message of a reply that brings none.
func meaning(status int, class tokenstore.RefreshClass, readable bool) string {
	switch {
	case status >= 300 && status < 400:
		return "the token endpoint redirects; configure its final URL"
	case status < 300 && !readable:
		return "the answer is neither JSON nor a form"
	case status < 300:
		return "the answer has no access_token"
	case class == tokenstore.RefreshUnknown:
		return "the answer does not say whether the grant was processed"
	case !readable:
		return "the answer is not the token endpoint's: perhaps a proxy or firewall gave it"
	}
	return ""
}
