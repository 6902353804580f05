package provider

import (
	"net/http"
	"regexp"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// What any server may say, whoever runs it: the words of standards, and of requests.

const (
	rfc6749 = "RFC 6749 section 5.2"
	rfc6750 = "RFC 6750 section 3.1"
	// anyServer marks what servers of many makers answer, in words of their own.
	anyServer = "answers/*/401-missing-scope-words-alone.txt"
)

// account are the statuses at which words about the account itself count.
var account = []int{400, 401, 403}

// requestWords in a 401's message lower it to a matter of this request. That a client's words may be among them does no
// harm: the answer then passes to that client and nobody is blamed.
var requestWords = regexp.MustCompile(`(?i)missing (the )?(required )?(oauth )?(scope|permission)|` +
	`insufficient[ _-](permission|scope|privilege|access|authentication scope)|` +
	`(scope|permission)s? (is |are )?(required|missing|not granted)|scope requirement|` +
	`do(es)?(n't| not) have (access|permission)|` +
	`not (authori[sz]ed|permitted|allowed|enabled) (to|for) ` +
	`(\w+ ){0,2}(model|endpoint|operation|action|method|feature|project|organi[sz]ation)\b|` +
	`(unknown|unsupported|unrecogni[sz]ed|invalid|no such) model|` +
	`model\b.{0,200}\b(not found|does not exist|not (available|supported)|unknown)`)

// scopeWords do the same, but not where the token may have ended as well (endWords).
var (
	scopeWords = regexp.MustCompile(`(?i)(\b(missing|lacks?|lacking|without|requires?|required|invalid|insufficient|` +
		`no|not)|n't (include|have))\b.{0,80}\bscopes?\b|\bno access to (the |this )?model\b`)
	endWords = regexp.MustCompile(`(?i)\b(expired|revoked)\b`)
)

var standard = tables{
	rules: []rule[verdict]{
		{when{status: []int{401, 403}, challenge: "invalid_token"}, rejected, rfc6750},
		{when{status: []int{401, 403}, code: codes("invalid_token")}, rejected, rfc6750},
		{when{status: []int{403}, text: says(
			"the access token expired", "the access token has expired", "the access token was revoked",
			"access token has expired", "access token has been revoked", "token has been revoked", "token has expired",
		)}, rejected, "RFC 6750 section 3, and its variants"},
		{when{status: []int{401}, challenge: "insufficient_scope"}, forbidden, rfc6750},
		{when{status: []int{401}, word: codes("insufficient_scope", "insufficient_scopes")}, forbidden, rfc6750},
		{when{status: []int{401}, like: requestWords}, forbidden, anyServer},
		{when{status: []int{401}, like: scopeWords, unlike: endWords}, forbidden, anyServer},
	},
	refusals: []rule[tokenstore.RefreshClass]{
		{when{code: codes("invalid_grant")}, tokenstore.RefreshPermanent, rfc6749},
		{when{code: codes("invalid_token")}, tokenstore.RefreshPermanent, rfc6750},
		{when{code: codes("token_expired", "token_revoked")}, tokenstore.RefreshPermanent, "Slack API docs, oauth.v2.access"},
		{when{code: codes("revoked_token")}, tokenstore.RefreshPermanent, unsourced},
		{when{code: codes("expired_token")}, tokenstore.RefreshPermanent, "RFC 8628 section 3.5"},
		{
			when{code: codes("interaction_required", "login_required", "consent_required")},
			tokenstore.RefreshPermanent, "OpenID Connect Core section 3.1.2.6",
		},
	},
	limits: limits{
		asked: []ask{{"retry-after", time.Second}}, // RFC 9110 section 10.2.3
		buckets: []bucket{
			{"ratelimit-remaining", "ratelimit-reset"}, // IETF httpapi, RateLimit header fields
			{"x-rate-limit-remaining", "x-rate-limit-reset"},
		},
		fields: []ask{
			{"retry_after", time.Second},
			{"retry_after_seconds", time.Second},
			{"retry_after_ms", time.Millisecond},
			{"reset_after_seconds", time.Second},
			{"reset_at", 0},
		},
	},
}

// rfcFaults are a request that is wrong whatever the credential.
var rfcFaults = exact{
	"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request",
}

// unjudged are the first rows for a token endpoint's answer that grants nothing: who gives it has not judged the
// credential, or does not say so surely. Pages, and the errors of frameworks and gateways, come before, during and
// after a grant; of a 5xx only RFC 6749's own words, and a bare status of who passed nothing on, prove that there was
// none.
var unjudged = []rule[tokenstore.RefreshClass]{
	{when{from: 300, below: 400}, tokenstore.RefreshMisconfigured, "RFC 9110 section 15.4: it points elsewhere"},
	{when{from: 500, foreign: true}, tokenstore.RefreshUnknown, rfc6749},
	{when{from: 500, exact: exact{"invalid_grant"}}, tokenstore.RefreshPermanent, rfc6749},
	{when{from: 500, exact: rfcFaults}, tokenstore.RefreshMisconfigured, rfc6749},
	{when{from: 500, exact: exact{"temporarily_unavailable"}}, tokenstore.RefreshTransient, "RFC 6749 section 4.1.2.1"},
	{when{status: []int{503}, noCode: true, body: passedOn}, tokenstore.RefreshUnknown, "the gateways named at passedOn"},
	{when{status: []int{503}, noCode: true}, tokenstore.RefreshTransient, "RFC 9110 section 15.6.4"},
	{
		when{status: []int{521, 523, 525, 526}, noCode: true},
		tokenstore.RefreshTransient,
		"Cloudflare docs, 5xx errors: the origin was not reached",
	},
	{when{from: 500}, tokenstore.RefreshUnknown, rfc6749},
	{
		when{status: []int{http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusProxyAuthRequired}},
		tokenstore.RefreshTransient, "RFC 9110 section 15.5, RFC 6585 section 4",
	},
}

// unknownWords are the last rows: the configuration's faults, and words that nobody knows.
var unknownWords = []rule[tokenstore.RefreshClass]{
	{when{exact: rfcFaults}, tokenstore.RefreshMisconfigured, rfc6749},
	{when{exact: exact{"temporarily_unavailable"}}, tokenstore.RefreshTransient, "RFC 6749 section 4.1.2.1"},
	// It proves nothing: the server met something unexpected, perhaps after it had spent the grant.
	{when{exact: exact{"server_error"}}, tokenstore.RefreshUnknown, "RFC 6749 section 4.1.2.1"},
	{when{below: 300}, tokenstore.RefreshUnknown, rfc6749},
	{when{status: []int{clientClosed}}, tokenstore.RefreshUnknown, "nginx and Envoy: who asked has left"},
	// Refused in words that we do not know, or by what stands in front of the endpoint.
	{when{}, tokenstore.RefreshTransient, "docs/decisions/0012-what-a-failed-refresh-proves.md"},
}

// clientClosed is the status that nginx and Envoy's kin note when who asked has left: the grant may have got through.
const clientClosed = 499

// passedOn is found in the 503 of gateways that answer so, too, when the request had gone out and no answer came in
// time or the connection broke.
var passedOn = regexp.MustCompile(`(?i)upstream connect error or disconnect/reset before headers|` +
	`upstream request timeout|` + // Envoy
	`^\s*{\s*"message"\s*:\s*"Service Unavailable"\s*}\s*$|` + // AWS's HTTP APIs after 30 s
	`herokucdn\.com/error-pages|` + // H12, H13
	`(first byte|between bytes) timeout|backend (fetch failed|read error)`) // Fastly, Varnish
