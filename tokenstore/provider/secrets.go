package provider

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

// This file is the only one of the package that reveals secrets: into request headers and grant requests.

func reveal(s tokenstore.Secret) string { return s.Reveal() }

func bearer(s tokenstore.Secret) tokenstore.Header {
	return tokenstore.Header{Name: "authorization", Value: "Bearer " + s.Reveal()}
}

// longestToken bounds what goes into a request header, in bytes. Envoy takes 60 KiB of headers in all unless it is
// told otherwise (max_request_headers_kb) and fails a request that a longer token does not fit into; real tokens have
// at most a few.
const longestToken = 16 << 10

// sendable reports a token that no request header can carry. Envoy would answer every request that gets it with an
// empty 500. Bearer tokens are less than visible ASCII (RFC 6750 section 2.1), keys may be anything of it.
func sendable(key string, token tokenstore.Secret) error {
	t := token.Reveal()
	if len(t) > longestToken || strings.ContainsFunc(t, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return &tokenstore.RecordError{Key: key, Rule: "must be printable ASCII without spaces or line breaks, " +
			"at most 16 KiB: nothing else fits into a request header"}
	}
	return nil
}

// grantParams is the body of a grant request (RFC 6749 sections 4.4 and 6). Client authentication goes into it with
// style params, and the client id alone with style none.
func grantParams(r request) map[string]string {
	p := map[string]string{"grant_type": r.grant}
	if r.grant == "refresh_token" {
		p["refresh_token"] = r.record.RefreshToken.Reveal()
	} else if r.record.Scope != "" {
		p["scope"] = r.record.Scope
	}
	if r.style != "header" && r.record.ClientID != "" {
		p["client_id"] = r.record.ClientID
	}
	if r.style == "params" && !r.record.ClientSecret.IsZero() {
		p["client_secret"] = r.record.ClientSecret.Reveal()
	}
	return p
}

// basicAuth is the Authorization header of style header: both parts are form-encoded first (RFC 6749 section 2.3.1).
func basicAuth(r request) string {
	pair := url.QueryEscape(r.record.ClientID) + ":" + url.QueryEscape(r.record.ClientSecret.Reveal())
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}

// planted are the values that must not come back in an error's text, should the server echo them: the secrets, and what
// forms, JSON and the Authorization header make of them. Longest first, since one may be part of another.
func planted(r tokenstore.Record) []string {
	var out []string
	secrets := []tokenstore.Secret{r.RefreshToken, r.ClientSecret, r.AccessToken, r.APIKey}
	if f := r.Former; f != nil {
		secrets = append(secrets, f.RefreshToken, f.ClientSecret)
	}
	for _, s := range secrets {
		if s.IsZero() {
			continue
		}
		quoted, _ := json.Marshal(s.Reveal()) // a string always marshals
		out = append(out, s.Reveal(), url.QueryEscape(s.Reveal()), string(quoted[1:len(quoted)-1]))
	}
	if !r.ClientSecret.IsZero() {
		out = append(out, strings.TrimPrefix(basicAuth(request{record: r}), "Basic "))
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}
