package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// newAccount is what `add` was told; secrets are files.
type newAccount struct {
	settings
	provider, kind                                             string
	refreshToken, clientSecret, apiKey, accessToken, expiresAt string

	force bool
}

func (a *app) add() *cobra.Command {
	n := &newAccount{}
	c := &cobra.Command{
		Use:   "add ID",
		Short: "add an account, or give an existing one a new credential",
		Args:  cobra.ExactArgs(1),
		Long: "add takes secrets from files or standard input, never from arguments. A new credential of an account that " +
			"exists is exchanged at once by the\n" +
			"service; until then the account serves on with its access token, and its former credential comes back if the new " +
			"one is refused.\n" +
			"Without a new credential an account that exists is left to accounts set. An access token alone\n" +
			"is refused while the account's own lives and the service can get the next one.",
		Example: "  tokenward accounts add claude-1 --provider anthropic --type ANTHROPIC_OAUTH --client-id ID " +
			"--refresh-token-file -",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := accountID(args[0])
			if err != nil {
				return err
			}
			if err := n.check(); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, s *Session) error { return a.addAccount(cmd, ctx, s, id, n) })
		},
	}
	n.flags(c)
	f := c.Flags()
	f.StringVar(&n.provider, "provider", "", "provider of the configuration (required for a new account)")
	f.StringVar(&n.kind, "type", "", strings.Join(a.kinds, ", ")+" (required for a new account)")
	f.StringVar(&n.refreshToken, "refresh-token-file", "", "file with the refresh token, - for standard input")
	f.StringVar(&n.clientSecret, "client-secret-file", "", "file with the client secret, - for standard input")
	f.StringVar(&n.apiKey, "api-key-file", "", "file with the API key, - for standard input")
	f.StringVar(&n.accessToken, "access-token-file", "",
		"file with an access token that still lives, - for standard input")
	f.StringVar(&n.expiresAt, "expires-at", "", "when that access token ends, RFC 3339")
	f.BoolVar(
		&n.force,
		"force",
		false,
		"also an account that accounts copy moved to another store: it gets a life of its own here;"+
			" and an access token in place of one that lives",
	)
	return c
}

func (a *app) addAccount(
	cmd *cobra.Command, ctx context.Context, s *Session, id tokenstore.AccountID, n *newAccount,
) error {
	apply, err := n.read(cmd)
	if err != nil {
		return err
	}
	became, err := s.put(cmd, ctx, id, over{replace: true, force: n.force, without: n.hint(id), paste: true}, apply)
	if err != nil {
		return err
	}
	return a.done(cmd, "account %s %s", id, became)
}

// hint is what an existing account is refused with when no secret is given; "" when one is.
func (n *newAccount) hint(id tokenstore.AccountID) string {
	if n.refreshToken+n.clientSecret+n.apiKey+n.accessToken != "" {
		return ""
	}
	line := []string{"tokenward accounts set", string(id)}
	for _, flag := range n.given() {
		line = append(line, flag+" …")
	}
	return "it exists, and no new credential was given: limits, pools, labels and tenant change with " + strings.Join(line,
		" ") +
		", which spends nothing; a new credential needs e.g. --refresh-token-file FILE"
}

// read loads the secrets and returns what puts everything into a record. What was not given stays as it is.
func (n *newAccount) read(cmd *cobra.Command) (func(*tokenstore.Record), error) {
	var secrets [4]tokenstore.Secret
	stdin := 0
	files := []struct {
		flag, path, what string
		grammar          tokenstore.Grammar
	}{
		{"refresh-token-file", n.refreshToken, "the refresh token", tokenstore.RefreshTokenText},
		{"client-secret-file", n.clientSecret, "the client secret", tokenstore.ClientSecretText},
		{"api-key-file", n.apiKey, "the API key", tokenstore.APIKeyText},
		{"access-token-file", n.accessToken, "the access token", tokenstore.AccessTokenText},
	}
	for _, f := range files {
		if f.path == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return nil, Usagef("only one secret can come from standard input: put the others into files")
	}
	for i, f := range files {
		var err error
		if secrets[i], err = readSecret(cmd, f.flag, f.path, f.what, f.grammar); err != nil {
			return nil, err
		}
	}
	var expires time.Time
	if n.expiresAt != "" {
		var err error
		if expires, err = time.Parse(time.RFC3339, n.expiresAt); err != nil {
			return nil, Usagef("--expires-at %q: use RFC 3339, e.g. 2030-01-31T12:00:00Z", n.expiresAt)
		}
	}
	return func(r *tokenstore.Record) {
		n.apply(r)
		if n.provider != "" {
			r.Provider = n.provider
		}
		if n.kind != "" {
			r.Kind = tokenstore.Kind(n.kind)
		}
		for dst, v := range map[*tokenstore.Secret]tokenstore.Secret{
			&r.RefreshToken: secrets[0], &r.ClientSecret: secrets[1], &r.APIKey: secrets[2],
		} {
			if !v.IsZero() {
				*dst = v
			}
		}
		if t := secrets[3]; !t.IsZero() && !t.Equal(r.AccessToken) {
			*r = r.WithoutToken()
			r.AccessToken = t
		}
		if !expires.IsZero() {
			r.ExpiresAt, r.ObtainedAt = expires.UTC(), time.Now().UTC()
		}
	}, nil
}
