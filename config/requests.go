package config

import (
	"regexp"
	"slices"
	"strings"
)

// reflected are methods whose answer is the request itself (RFC 9110 section 9.3.8), our token in it.
var reflected = []string{"TRACE", "TRACK"}

// methodName is what methods look like; they are the same in no other case (RFC 9110 section 9.1).
var methodName = regexp.MustCompile(`^[A-Z][A-Z-]{0,31}$`)

// unmatched is in no path that routes are compared with: Envoy merges slashes, resolves dots, leaves no
// backslash.
var unmatched = regexp.MustCompile(`(?i)//|\\|%5c|/(?:\.|%2e){1,2}/`)

// checkPrefix refuses what no request could match, so that its requests would take a broader route in silence.
func (k *checker) checkPrefix(r Route, path string) {
	path += ".match.prefix"
	switch {
	case unmatched.MatchString(r.Prefix):
		k.bad(path, r.Prefix, "matches no request",
			"slashes in a row are one, . and .. are resolved, and no backslash is left, before routes are looked at")
	case r.EscapedSlashes != "keep" && strings.Contains(strings.ToLower(r.Prefix), "%2f"):
		k.bad(path, r.Prefix, "matches no request: %2F is refused on this route", "say escaped_slashes: keep")
	}
}

func (k *checker) checkMethods(r Route, path string) {
	path += ".methods"
	if len(r.Methods) == 0 {
		k.bad(path, "", "must name at least one method", "remove it for the usual ones")
	}
	if r.WebSocket && !slices.Contains(r.Methods, "GET") {
		k.bad(path, "", "must name GET, by which WebSockets are opened", "or remove websocket: true")
	}
	for i, m := range r.Methods {
		switch upper := strings.ToUpper(m); {
		case slices.Contains(reflected, upper):
			k.bad(path, m, "would give our token back to the client", "remove it")
		case upper == "CONNECT":
			k.bad(path, m, "opens tunnels, which the gateway does not carry", "remove it")
		case !methodName.MatchString(m):
			k.bad(path, m, "is no method", "use upper-case letters, e.g. GET")
		case slices.Contains(r.Methods[:i], m):
			k.bad(path, m, "is given twice", "keep one")
		}
	}
}

// checkRevealed takes only what is hidden: anything else is a slip that would go unnoticed.
func (k *checker) checkRevealed(r Route, path string) {
	path += ".reveal_headers"
	for i, h := range r.RevealHeaders {
		switch lower := strings.ToLower(h); {
		case !slices.Contains(k.known.Hidden, lower):
			k.bad(path, h, "is no header that the gateway hides",
				meant(lower, k.known.Hidden, "hidden are "+strings.Join(k.known.Hidden, ", ")))
		case slices.ContainsFunc(r.RevealHeaders[:i], func(o string) bool { return strings.EqualFold(o, h) }):
			k.bad(path, h, "is given twice", "keep one")
		}
	}
}
