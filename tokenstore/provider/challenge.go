package provider

import (
	"regexp"
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

// parameter is one of a challenge. Quoted values are taken whole: a realm or a description may hold the request's
// words.
var parameter = regexp.MustCompile(`([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))`)

// challenged is the error code of a Bearer challenge (RFC 6750 section 3), "" without one.
func challenged(h tokenstore.HeaderGetter) string {
	challenge := h.Get("www-authenticate")
	if challenge == "" {
		return ""
	}
	for _, m := range parameter.FindAllStringSubmatch(challenge, -1) {
		if strings.EqualFold(m[1], "error") {
			return strings.ToLower(m[2] + m[3])
		}
	}
	return ""
}
