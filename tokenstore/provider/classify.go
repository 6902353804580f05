package provider

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// said is what an error body says of itself, "" where it says nothing.
type said struct{ code, kind, message string }

// name is the most precise word for the error.
func (e said) name() string {
	if e.code != "" {
		return e.code
	}
	return e.kind
}

// classify is the decision table of answers: status first, then the provider's words. parse reads the provider's error object.
//
// What benches or refreshes rests on the provider's own protocol words: challenge, code, type. A message may hold the words of
// the request, so a message lowers a verdict where it likes, and raises one only where the whole of it is known.
func classify(resp tokenstore.Response, parse func([]byte) said) tokenstore.Verdict {
	if resp.Local {
		return local(resp)
	}
	if resp.Status < 400 {
		return tokenstore.Verdict{Class: tokenstore.ClassOK, Scope: tokenstore.ScopeRequest}
	}
	e := parse(resp.Body)
	v := tokenstore.Verdict{Code: e.name(), Message: clipMessage(e.message), NeedBody: !resp.BodyRead}
	say := func(c tokenstore.Class, s tokenstore.Scope) tokenstore.Verdict {
		v.Class, v.Scope = c, s
		return v
	}
	switch resp.Status {
	case 400:
		switch {
		case e.blocked():
			return say(tokenstore.ClassAccountBlocked, tokenstore.ScopeOrganisation)
		case e.broke():
			return say(tokenstore.ClassBilling, tokenstore.ScopeAccount)
		}
		return say(tokenstore.ClassRequestFault, tokenstore.ScopeRequest)
	case 401:
		challenge := challenged(resp.Header)
		switch {
		case e.blocked():
			return say(tokenstore.ClassAccountBlocked, tokenstore.ScopeOrganisation)
		case challenge == "invalid_token", e.aboutToken():
			return say(tokenstore.ClassTokenRejected, tokenstore.ScopeAccount)
		case challenge == "insufficient_scope", e.aboutRequest():
			return say(tokenstore.ClassForbidden, tokenstore.ScopeRequest)
		case e.unsupported():
			return say(tokenstore.ClassMisconfigured, tokenstore.ScopeProvider)
		}
		return say(tokenstore.ClassTokenRejected, tokenstore.ScopeAccount)
	case 402:
		if e.unaffordable() {
			return say(tokenstore.ClassForbidden, tokenstore.ScopeRequest)
		}
		return say(tokenstore.ClassBilling, tokenstore.ScopeAccount)
	case 403:
		return forbidden(resp, say, e)
	case 429:
		wait, sure := resetIn(resp, time.Now())
		v.Wait, v.NeedBody = wait, v.NeedBody && !sure
		switch {
		case e.broke():
			return say(tokenstore.ClassBilling, tokenstore.ScopeAccount)
		case e.entitled():
			return say(tokenstore.ClassForbidden, tokenstore.ScopeRequest)
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
func forbidden(resp tokenstore.Response, say func(tokenstore.Class, tokenstore.Scope) tokenstore.Verdict, e said) tokenstore.Verdict {
	switch {
	case e.blocked():
		return say(tokenstore.ClassAccountBlocked, tokenstore.ScopeOrganisation)
	case e.aboutToken(), e.revoked(), challenged(resp.Header) == "invalid_token":
		return say(tokenstore.ClassTokenRejected, tokenstore.ScopeAccount)
	case e.code == "unsupported_country_region_territory", isHTML(resp):
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
