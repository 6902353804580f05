package config

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Headers that a configuration must not name. RFC 9110 section 7.6.1: those of the connection; a message's framing; the
// ones that the gateway sets or removes itself.
var (
	connectionHeaders = []string{
		"host", "content-length", "connection", "te", "trailer", "transfer-encoding", "upgrade", "keep-alive",
		"http2-settings",
	}
	credentialHeaders = []string{"authorization", "x-api-key"}
	gatewayPrefixes   = []string{"x-tokenward-", "tokenward-", "x-envoy-", "x-forwarded-"}
)

// headerRule says which rule a header's name breaks.
func headerRule(name string) (rule, remedy string) {
	n := strings.ToLower(name)
	begins := func(prefix string) bool { return strings.HasPrefix(n, prefix) }
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "is no header name (RFC 9110 section 5.6.2)", "use letters, digits and -"
	case slices.Contains(connectionHeaders, n) || begins("proxy-"):
		return "belongs to the connection or to the message's framing", "remove it"
	case slices.Contains(credentialHeaders, n):
		return "carries credentials, which the gateway sets and removes itself", "keep credentials in accounts"
	case slices.ContainsFunc(gatewayPrefixes, begins) || n == "x-request-id":
		return "is the gateway's own: it is removed from every request", "choose another name"
	}
	return "", ""
}

// checkHeaders never shows a value: it may be a secret.
func (k *checker) checkHeaders(p Provider, path string) {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		at := join(path, name)
		rule, remedy := headerRule(name)
		switch n := strings.ToLower(name); {
		case rule != "":
			k.bad(at, "", rule, remedy)
		case slices.Contains(k.known.Owns(p.Driver), n):
			k.bad(at, "", "is set by the driver "+p.Driver+" itself", "remove it; a client's own values are kept")
		case !httpguts.ValidHeaderFieldValue(p.Headers[name]):
			const rule = "has a value with a line break or another control character (RFC 9110 section 5.5)"
			k.bad(at, "", rule, "remove it")
		case seen[n]:
			k.bad(at, "", "is given twice: header names are the same in every case", "keep one")
		}
		seen[strings.ToLower(name)] = true
	}
}
