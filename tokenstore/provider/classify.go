package provider

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// classify is the decision table of reference B.3. parse reads the provider's error object.
func classify(resp tokenstore.Response, parse func([]byte) (code, message string)) tokenstore.Verdict {
	if resp.Local {
		return local(resp)
	}
	if resp.Status < 400 {
		return tokenstore.Verdict{Class: tokenstore.ClassOK, Scope: tokenstore.ScopeRequest}
	}
	code, message := parse(resp.Body)
	v := tokenstore.Verdict{Code: code, Message: clipMessage(message), NeedBody: !resp.BodyRead}
	text := strings.ToLower(message)
	say := func(c tokenstore.Class, s tokenstore.Scope) tokenstore.Verdict {
		v.Class, v.Scope = c, s
		return v
	}
	blocked := strings.Contains(text, "organization has been disabled") || strings.Contains(text, "account has been disabled") ||
		strings.Contains(text, "not allowed for this organization") || code == "account_deactivated"
	broke := strings.Contains(text, "credit balance is too low") || code == "insufficient_quota" || code == "billing_error" || code == "billing_hard_limit_reached"
	switch resp.Status {
	case 400:
		switch {
		case blocked:
			return say(tokenstore.ClassAccountBlocked, tokenstore.ScopeOrganisation)
		case broke:
			return say(tokenstore.ClassBilling, tokenstore.ScopeAccount)
		}
		return say(tokenstore.ClassRequestFault, tokenstore.ScopeRequest)
	case 401:
		switch {
		case blocked:
			return say(tokenstore.ClassAccountBlocked, tokenstore.ScopeOrganisation)
		case strings.Contains(text, "oauth") && strings.Contains(text, "not supported"):
			return say(tokenstore.ClassMisconfigured, tokenstore.ScopeProvider)
		}
		return say(tokenstore.ClassTokenRejected, tokenstore.ScopeAccount)
	case 402:
		return say(tokenstore.ClassBilling, tokenstore.ScopeAccount)
	case 403:
		return forbidden(resp, say, text, code, blocked)
	case 429:
		wait, sure := resetIn(resp, time.Now())
		v.Wait, v.NeedBody = wait, v.NeedBody && !sure
		if broke {
			return say(tokenstore.ClassBilling, tokenstore.ScopeAccount)
		}
		return say(tokenstore.ClassRateLimited, tokenstore.ScopeAccount)
	case 503, 529:
		v.Wait = demandIn(resp.Header, time.Now())
		v.NeedBody = false
		return say(tokenstore.ClassOverloaded, tokenstore.ScopeProvider)
	}
	v.NeedBody = false
	if resp.Status >= 500 {
		return say(tokenstore.ClassProviderFault, tokenstore.ScopeProvider)
	}
	return say(tokenstore.ClassRequestFault, tokenstore.ScopeRequest)
}

// forbidden tells a revoked token, a blocked organisation, something on the path, and a missing permission apart.
func forbidden(resp tokenstore.Response, say func(tokenstore.Class, tokenstore.Scope) tokenstore.Verdict, text, code string, blocked bool) tokenstore.Verdict {
	challenge := strings.ToLower(resp.Header.Get("www-authenticate"))
	switch {
	case blocked:
		return say(tokenstore.ClassAccountBlocked, tokenstore.ScopeOrganisation)
	case strings.Contains(text, "token") && (strings.Contains(text, "revoked") || strings.Contains(text, "expired")),
		code == "token_revoked", code == "token_invalidated", code == "token_expired", strings.Contains(challenge, "invalid_token"):
		return say(tokenstore.ClassTokenRejected, tokenstore.ScopeAccount)
	case code == "unsupported_country_region_territory", isHTML(resp):
		return say(tokenstore.ClassEgress, tokenstore.ScopeEgress)
	}
	return say(tokenstore.ClassForbidden, tokenstore.ScopeRequest)
}

func isHTML(resp tokenstore.Response) bool {
	return strings.Contains(resp.Header.Get("content-type"), "text/html") || bytes.HasPrefix(bytes.TrimSpace(resp.Body), []byte("<"))
}

// local judges an answer that Envoy made itself.
func local(resp tokenstore.Response) tokenstore.Verdict {
	if resp.NotSent {
		return tokenstore.Verdict{Class: tokenstore.ClassUnreachable, Scope: tokenstore.ScopeProvider, Code: resp.Detail}
	}
	return tokenstore.Verdict{Class: tokenstore.ClassProviderFault, Scope: tokenstore.ScopeProvider, Code: resp.Detail}
}

func clipMessage(s string) string {
	const most = 1024
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// words is the text of a refusal, with the provider's own when it is known.
func words(ref tokenstore.Refusal) string {
	switch {
	case ref.ProviderMessage != "":
		return fmt.Sprintf("%s (provider's answer %d: %s)", ref.Message, ref.ProviderStatus, ref.ProviderMessage)
	case ref.ProviderStatus != 0:
		return fmt.Sprintf("%s (provider's answer: %d)", ref.Message, ref.ProviderStatus)
	}
	return ref.Message
}

func about(ref tokenstore.Refusal) map[string]any {
	m := map[string]any{"reason": string(ref.Reason)}
	if ref.ProviderStatus != 0 {
		m["provider_status"] = ref.ProviderStatus
	}
	return m
}
