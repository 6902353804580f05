package provider

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
)

// Settings are a provider's entry in the configuration. Zero values mean the driver's defaults.
type Settings struct {
	Driver    string // anthropic, oauth2, api_key
	TokenURL  string
	AuthStyle string            // params (default), header, none
	Body      string            // form (default), json
	Replay    string            // strict (default), grace, no_rotation
	Grace     time.Duration     // with replay grace: how long a predecessor is accepted
	Headers   map[string]string // set on every attempt
	Proxy     string            // egress proxy of token endpoint calls; "": the environment's
	CAFile    string            // trust anchor of the token endpoint; "": the system's
	Files     *tlsfile.Files    // reads CAFile again; nil: it is read once
}

const (
	driverAnthropic = "anthropic"
	driverOAuth2    = "oauth2"
	driverAPIKey    = "api_key"
)

// Names lists the drivers.
func Names() []string { return []string{driverAnthropic, driverAPIKey, driverOAuth2} }

// DefaultURL is the usual upstream of a driver's provider, "" if it has none.
func DefaultURL(driver string) string {
	if driver == driverAnthropic {
		return "https://api.anthropic.com"
	}
	return ""
}

// RequestHeaders lists the request headers that drivers merge with the client's own, so that Envoy must show them to us.
func RequestHeaders() []string { return []string{betaHeader} }

// New builds the driver for a provider entry.
func New(name string, s Settings) (tokenstore.Driver, error) {
	e, err := newEndpoint(name, s)
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", name, err)
	}
	replay := map[string]tokenstore.ReplayPolicy{"": tokenstore.ReplayStrict, "strict": tokenstore.ReplayStrict, "grace": tokenstore.ReplayGrace, "no_rotation": tokenstore.ReplayNoRotation}[s.Replay]
	if replay == 0 {
		return nil, fmt.Errorf("provider %s: replay %q is unknown: use strict, grace or no_rotation", name, s.Replay)
	}
	if !slices.Contains([]string{"", "params", "header", "none"}, s.AuthStyle) {
		return nil, fmt.Errorf("provider %s: auth_style %q is unknown: use params, header or none", name, s.AuthStyle)
	}
	if !slices.Contains([]string{"", "form", "json"}, s.Body) {
		return nil, fmt.Errorf("provider %s: body %q is unknown: use form or json", name, s.Body)
	}
	b := base{endpoint: e, extra: extraHeaders(s.Headers), replay: replay, grace: s.Grace}
	switch s.Driver {
	case driverAnthropic:
		return &anthropic{b}, nil
	case driverOAuth2:
		if s.TokenURL == "" {
			return nil, fmt.Errorf("provider %s: the oauth2 driver needs token_url: give the provider's token endpoint", name)
		}
		return &generic{b}, nil
	case driverAPIKey:
		return &generic{b}, nil
	}
	return nil, fmt.Errorf("provider %s: driver %q is unknown: use one of %s", name, s.Driver, strings.Join(Names(), ", "))
}

// base is what all drivers share.
type base struct {
	endpoint *endpoint
	extra    []tokenstore.Header
	replay   tokenstore.ReplayPolicy
	grace    time.Duration
}

// Replay implements tokenstore.Driver.
func (b base) Replay() (tokenstore.ReplayPolicy, time.Duration) { return b.replay, b.grace }

// Room implements tokenstore.Driver: a limit is in the headers, and none of them is used up.
func (b base) Room(h tokenstore.HeaderGetter) bool {
	room := false
	for _, name := range roomHeaders {
		switch h.Get(name) {
		case "":
		case "0", "rejected":
			return false
		default:
			room = true
		}
	}
	return room
}

// roomHeaders tell how much is left of a limit, or of all of them.
var roomHeaders = []string{
	"anthropic-ratelimit-unified-status", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-tokens-remaining",
	"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-output-tokens-remaining",
	"x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens", "x-ratelimit-remaining",
}

// Token implements tokenstore.Driver.
func (b base) Token(r tokenstore.Record) tokenstore.Secret {
	if r.Kind == tokenstore.KindAPIKey {
		return r.APIKey
	}
	return r.AccessToken
}

// Check implements tokenstore.Driver for what no driver can work with.
func (b base) Check(r tokenstore.Record) error {
	if r.Kind == tokenstore.KindAPIKey {
		return sendable("api_key", r.APIKey)
	}
	return sendable("access_token", r.AccessToken)
}

func extraHeaders(m map[string]string) []tokenstore.Header {
	var out []tokenstore.Header
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, tokenstore.Header{Name: strings.ToLower(k), Value: m[k]})
	}
	return out
}

// need reports the first of the named keys that is missing.
func need(keys map[string]bool) error {
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !keys[k] {
			return &tokenstore.RecordError{Key: k, Rule: "must be given for this type"}
		}
	}
	return nil
}
