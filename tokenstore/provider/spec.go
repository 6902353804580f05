package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

// Spec is everything that anybody needs to know of a driver. A driver is one file with one Spec, and a line in Specs.
type Spec struct {
	Name       string // as in a configuration's providers.NAME.driver; unique
	DefaultURL string // the provider's usual upstream; "": there is none
	Kinds      []Kind // the record types that it serves
	// Shows are the headers of requests and answers that Envoy must show us for it: names in lower case, or the beginning
	// of names with an * at the end.
	Shows []string
	Owns  []string // request headers, in lower case, that it sets itself, so that a configuration must not
	// Asks are headers, as `name: value`, without which the provider answers no request; clients must send them.
	Asks        []string
	Credentials Credentials
	// Needs reports what a provider entry lacks or must not have for this driver, nil if nothing. A nil func: it never
	// does. No I/O.
	Needs func(Settings) *SettingError
	// New makes the driver of one provider entry. Its errors say which key is wrong.
	New func(Settings) (tokenstore.Driver, error)
}

// Specs are the drivers that exist.
var Specs = []Spec{anthropicSpec, apiKeySpec, oauth2Spec}

// Kind is a record type that a driver serves.
type Kind struct {
	Name     tokenstore.Kind
	Needs    []string // keys of the record that must be given
	OrToken  bool     // or else access_token, which then serves until it ends
	Grant    string   // grant_type of its refreshes; "": it is a key, and never refreshed
	TokenURL string   // where it is refreshed unless token_url is set; "": token_url must be set
}

// SettingError says what is wrong with a key of a provider entry.
type SettingError struct {
	Key  string // e.g. token_url
	Rule string // e.g. "must be given for the oauth2 driver"
}

func (e *SettingError) Error() string { return e.Key + " " + e.Rule }

// spec finds a driver by its name.
func spec(driver string) (Spec, bool) {
	at := slices.IndexFunc(Specs, func(s Spec) bool { return s.Name == driver })
	if at < 0 {
		return Spec{}, false
	}
	return Specs[at], true
}

// New builds the driver for a provider entry.
func New(name string, s Settings) (tokenstore.Driver, error) {
	known, ok := spec(s.Driver)
	if !ok {
		all := strings.Join(Names(), ", ")
		return nil, fmt.Errorf("provider %s: driver %q is unknown: use one of %s", name, s.Driver, all)
	}
	if wrong := Needs(s); wrong != nil {
		return nil, fmt.Errorf("provider %s: %w", name, wrong)
	}
	s.entry = name
	d, err := known.New(s)
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", name, err)
	}
	return d, nil
}

// Needs reports what a provider entry lacks or must not have for its driver; nil: nothing.
func Needs(s Settings) *SettingError {
	if known, ok := spec(s.Driver); ok && known.Needs != nil {
		return known.Needs(s)
	}
	return nil
}

// Names lists the drivers.
func Names() []string {
	out := make([]string, 0, len(Specs))
	for _, s := range Specs {
		out = append(out, s.Name)
	}
	return out
}

// DefaultURL is the usual upstream of a driver's provider, "" if it has none.
func DefaultURL(driver string) string {
	s, _ := spec(driver)
	return s.DefaultURL
}

// Owns lists the request headers that a driver sets itself.
func Owns(driver string) []string {
	s, _ := spec(driver)
	return s.Owns
}

// Asks lists the headers that clients of a driver's provider must send, as `name: value`.
func Asks(driver string) []string {
	s, _ := spec(driver)
	return s.Asks
}

// Kinds lists the record types of all drivers.
func Kinds() []string {
	return union(nil, func(s Spec) []string {
		var out []string
		for _, k := range s.Kinds {
			out = append(out, string(k.Name))
		}
		return out
	})
}

// ShownHeaders lists the headers that Envoy must show us: of requests, those that drivers merge with the client's own;
// of answers, those that tell of limits. An * at the end stands for all that begin so.
func ShownHeaders() []string { return union(nil, func(s Spec) []string { return s.Shows }) }

// union is what all drivers have, each thing once, after what is given.
func union(out []string, of func(Spec) []string) []string {
	out = slices.Clone(out)
	for _, s := range Specs {
		for _, v := range of(s) {
			if !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}
