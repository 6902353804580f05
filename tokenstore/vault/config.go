package vault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// The configuration, and its rules.
type (
	Config   = access.Config
	Auth     = access.Auth
	AppRole  = access.AppRole
	Workload = access.Workload
	Cert     = access.Cert
)

// broken is an error of all problems, in one line; nil if there is none.
func broken(problems []access.Problem) error {
	words := make([]string, len(problems))
	for i, p := range problems {
		words[i] = "store.vault." + p.Key
		if p.Value != "" {
			words[i] += fmt.Sprintf(" %q", p.Value)
		}
		words[i] += " " + p.Rule
		if p.Remedy != "" {
			words[i] += ", " + p.Remedy
		}
	}
	if len(words) == 0 {
		return nil
	}
	return errors.New(strings.Join(words, "; "))
}
