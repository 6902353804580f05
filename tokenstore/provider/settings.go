package provider

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
)

// Settings are a provider's entry in the configuration. Zero values mean the driver's defaults.
type Settings struct {
	Driver    string // the name of a Spec
	TokenURL  string
	AuthStyle string            // params (default), header, none
	Body      string            // form (default), json
	Replay    string            // strict (default), grace, no_rotation
	Grace     time.Duration     // with replay grace: how long a predecessor is accepted
	Headers   map[string]string // set on every attempt
	Proxy     string            // egress proxy of token endpoint calls; "": the environment's
	CAFile    string            // trust anchor of the token endpoint; "": the system's
	Files     *tlsfile.Files    // reads CAFile again; nil: it is read once

	entry string // its name in the configuration
}

// replays are the values of key replay.
var replays = map[string]tokenstore.ReplayPolicy{
	"": tokenstore.ReplayStrict, "strict": tokenstore.ReplayStrict,
	"grace": tokenstore.ReplayGrace, "no_rotation": tokenstore.ReplayNoRotation,
}

// choices finds what is wrong with the keys that every driver reads in the same way.
func (s Settings) choices() error {
	switch {
	case replays[s.Replay] == 0:
		return unknown("replay", s.Replay, "strict, grace or no_rotation")
	case !slices.Contains([]string{"", "params", "header", "none"}, s.AuthStyle):
		return unknown("auth_style", s.AuthStyle, "params, header or none")
	case !slices.Contains([]string{"", "form", "json"}, s.Body):
		return unknown("body", s.Body, "form or json")
	}
	return nil
}

func unknown(key, value, use string) error {
	return &SettingError{key, `"` + value + `" is unknown: use ` + use}
}

// extra are the headers of the configuration, in the order of their names.
func (s Settings) extra() []tokenstore.Header {
	var out []tokenstore.Header
	for _, k := range slices.Sorted(maps.Keys(s.Headers)) {
		out = append(out, tokenstore.Header{Name: strings.ToLower(k), Value: s.Headers[k]})
	}
	return out
}
