// Package verdict says what answers mean: how a provider answered an attempt, and what the client gets when we answer
// ourselves. All of it is values; it knows no account, no store and no HTTP.
package verdict

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// HeaderGetter looks a header up by its lower-case name; "" when absent. http.Header fits.
type HeaderGetter interface{ Get(name string) string }

// Response is what is known of an upstream's answer when its headers have arrived.
type Response struct {
	Status int
	Header HeaderGetter
	// Body is the (decoded) body, at most 64 KiB, when it was read: see BodyRead. Only error answers are ever read.
	Body     []byte
	BodyRead bool
	// Peekable: the body may still be asked for (not known to be large, status 400, 401, 402, 403 or 429).
	Peekable bool
	// Local: the answer was made by the proxy, not by the provider. Detail then is the proxy's reason.
	Local  bool
	Detail string
	// NotSent: a Local answer, and the request surely never reached the provider (refused connection, no host).
	NotSent bool
}

// Class is what an answer means.
type Class uint8

// Classes of answers.
const (
	ClassOK             Class = iota + 1 // 1xx, 2xx, 3xx: the token was accepted
	ClassTokenRejected                   // the access token was refused: expired, revoked, invalid
	ClassForbidden                       // this account may not do this (permission, model): nobody is benched
	ClassAccountBlocked                  // the account or its organisation is disabled or may not use this credential
	ClassBilling                         // no credit: waiting does not help
	ClassRateLimited                     // until Verdict.Until
	ClassOverloaded                      // the provider is overloaded
	ClassProviderFault                   // 5xx
	ClassRequestFault                    // the request itself is wrong: 400, 404, 413, ...
	ClassMisconfigured                   // our own headers or set-up are wrong
	ClassEgress                          // something on the path refused: HTML, geo block, challenge, proxy
	ClassUnreachable                     // the proxy could not reach the provider
)

var classNames = map[Class]string{
	ClassOK:             "ok",
	ClassTokenRejected:  "token_rejected",
	ClassForbidden:      "forbidden",
	ClassAccountBlocked: "account_blocked",
	ClassBilling:        "billing",
	ClassRateLimited:    "rate_limited",
	ClassOverloaded:     "overloaded",
	ClassProviderFault:  "provider_fault",
	ClassRequestFault:   "request_fault",
	ClassMisconfigured:  "misconfigured",
	ClassEgress:         "egress",
	ClassUnreachable:    "unreachable",
}

// Classes are all classes of answers.
func Classes() []Class { return slices.Sorted(maps.Keys(classNames)) }

func (c Class) String() string {
	if s, ok := classNames[c]; ok {
		return s
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Scope is how far a piece of evidence reaches.
type Scope uint8

// Scopes of evidence.
const (
	ScopeRequest Scope = iota + 1
	ScopeModel
	ScopeAccount
	ScopeOrganisation
	ScopeProvider
	ScopeEgress
)

func (s Scope) String() string {
	switch s {
	case ScopeRequest:
		return "request"
	case ScopeModel:
		return "model"
	case ScopeAccount:
		return "account"
	case ScopeOrganisation:
		return "organisation"
	case ScopeProvider:
		return "provider"
	case ScopeEgress:
		return "egress"
	}
	return fmt.Sprintf("Scope(%d)", uint8(s))
}

// Verdict is a driver's classification of an answer.
type Verdict struct {
	Class Class
	Scope Scope
	// Wait is how long the provider wants us to stay away (Retry-After, reset headers), from now; 0 when it did not say.
	Wait time.Duration
	// Code and Message are the provider's error type and text, "" when unknown. Message may be shown to the client.
	Code    string
	Message string
	// NeedBody: the class would be better known with the body. Only set when Response.BodyRead is false.
	NeedBody bool
}

// Reason is the stable name of a refusal of our own; header tokenward-reason.
type Reason string

// Reasons of our own refusals.
const (
	ReasonCredentialsRefused  Reason = "credentials_refused" // the provider refused the last token that could be tried
	ReasonNoHealthyAccount    Reason = "no_healthy_account"
	ReasonAllCooling          Reason = "all_cooling"
	ReasonUnknownRoute        Reason = "unknown_route"
	ReasonTenantDenied        Reason = "tenant_denied"
	ReasonStoreUnavailable    Reason = "store_unavailable"
	ReasonUpstreamUnreachable Reason = "upstream_unreachable" // the proxy could not connect, and nobody else is left
)

// Refusal is an answer of our own to the client: 503, or 429 with RetryAfter. Never a 401: the client's own key is
// fine.
type Refusal struct {
	Status     int
	Reason     Reason
	Message    string        // what was tried, what is wrong, what to do
	RetryAfter time.Duration // 0: no such header
	// Provider's words behind a credentials_refused, "" when its body was not read.
	ProviderStatus  int
	ProviderMessage string

	ContentType string // filled from Driver.Shape
	Body        []byte
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Message }

// Header is a request header that an attempt must carry.
type Header struct {
	Name  string // lower case
	Value string
	// Merge: the client's own value is a comma-separated list to which Value is added unless it is there; otherwise Value
	// replaces whatever the client sent.
	Merge bool
}

// RetryAfterSeconds is the Retry-After header's value, at least 1; 0: no header (RFC 9110 section 10.2.3).
func (r *Refusal) RetryAfterSeconds() int {
	if r.RetryAfter <= 0 {
		return 0
	}
	return int((r.RetryAfter + time.Second - 1) / time.Second)
}

// Ours reports whether a final answer of this class would make the client blame its own key, so that it gets a refusal
// of ours instead.
func (c Class) Ours() bool {
	return c == ClassTokenRejected || c == ClassAccountBlocked || c == ClassMisconfigured
}
