package vault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// Config says where Vault is and how to log in.
type Config struct {
	access.Config
	// Token is one that somebody else keeps alive, e.g. the operator's who runs a command. With it Auth plays no part.
	Token tokenstore.Secret
	Files *tlsfile.Files // reads the files for TLS again; nil: they are read once
}

// checked returns the configuration without what plays no part, or all that is wrong with it, in one line.
func (c Config) checked() (Config, error) {
	problems := c.Problems()
	if c.Token.IsZero() {
		problems = append(problems, c.Auth.Problems()...)
	} else {
		c.Auth = access.Auth{}
	}
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
	if len(words) > 0 {
		return c, errors.New(strings.Join(words, "; "))
	}
	return c, nil
}
