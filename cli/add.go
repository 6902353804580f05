package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
		Use: "add ID", Short: "add an account, or give an existing one a new credential", Args: cobra.ExactArgs(1),
		Long: "add takes secrets from files or standard input, never from arguments. A new credential of an account that exists is exchanged at once by the\n" +
			"service; until then the account serves on with its access token, and its former credential comes back if the new one is refused.\n" +
			"Without a new credential an account that exists is left to accounts set.",
		Example: "  tokenward accounts add claude-1 --provider anthropic --type ANTHROPIC_OAUTH --client-id ID --refresh-token-file -",
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
	f.StringVar(&n.kind, "type", "", "oauth_refresh, client_credentials, api_key, ANTHROPIC_OAUTH, CLAUDE_CODE (required for a new account)")
	f.StringVar(&n.refreshToken, "refresh-token-file", "", "file with the refresh token, - for standard input")
	f.StringVar(&n.clientSecret, "client-secret-file", "", "file with the client secret, - for standard input")
	f.StringVar(&n.apiKey, "api-key-file", "", "file with the API key, - for standard input")
	f.StringVar(&n.accessToken, "access-token-file", "", "file with an access token that still lives, - for standard input")
	f.StringVar(&n.expiresAt, "expires-at", "", "when that access token ends, RFC 3339")
	f.BoolVar(&n.force, "force", false, "also an account that accounts copy moved to another store: it gets a life of its own here")
	return c
}

func (a *app) addAccount(cmd *cobra.Command, ctx context.Context, s *Session, id tokenstore.AccountID, n *newAccount) error {
	apply, err := n.read(cmd)
	if err != nil {
		return err
	}
	became, err := s.put(cmd, ctx, id, over{replace: true, force: n.force, without: n.hint(id)}, apply)
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
	return "it exists, and no new credential was given: limits, pools, labels and tenant change with " + strings.Join(line, " ") +
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
		for dst, v := range map[*tokenstore.Secret]tokenstore.Secret{&r.RefreshToken: secrets[0], &r.ClientSecret: secrets[1], &r.APIKey: secrets[2]} {
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

// over is which accounts that exist a command may write over.
type over struct {
	replace bool   // those that are there
	force   bool   // those that accounts copy moved to another store
	without string // why none of them: the command brings no credential
}

// errExists marks the refusal of an account that is there.
var errExists = errors.New("it exists, and its refresh token may be newer than the file's: give --replace to overwrite it")

// refuse looks at what a load gave: nil when the command may write over it.
func (o over) refuse(r tokenstore.Record, err error) error {
	switch to := r.Labels[copiedTo]; {
	case absent(err):
		return nil
	case !o.replace:
		return refusedf("%w", errExists)
	case o.without != "" && err == nil:
		return refusedf("%s", o.without)
	case to != "" && !o.force:
		return refusedf("its live copy is in %s, and a refresh token must not have two owners: copy it back, or give --force if that copy is to be another account", to)
	}
	return nil
}

// put creates the account or changes it, and says what became of it. A new credential starts a new incarnation, beside the former one.
func (s *Session) put(cmd *cobra.Command, ctx context.Context, id tokenstore.AccountID, o over, apply func(*tokenstore.Record)) (became string, err error) {
	tried := "adding account " + string(id)
	for range 10 {
		old, v, err := s.Backend.Load(ctx, id)
		if err != nil && !absent(err) && !errors.Is(err, tokenstore.ErrUnreadable) {
			return "", fmt.Errorf("reading account %s: %w", id, err)
		}
		if err := o.refuse(old, err); err != nil {
			return "", fmt.Errorf("%s: %w", tried, err)
		}
		next := s.given(id, old, v, apply)
		if err := cmp.Or(check(s, next), tokenstore.Flaw(next)); err != nil {
			return "", Usagef("%s: %w", tried, err)
		}
		if err := s.fits(tried, old, next); err != nil {
			return "", err
		}
		if err := s.mayHave(cmd, ctx, id, old, next); err != nil {
			return "", fmt.Errorf("%s: %w", tried, err)
		}
		switch _, err = s.Backend.CompareAndSwap(ctx, id, next, v); {
		case err == nil:
			s.hold(id, next)
			return saying(cmd, id, old, next, v), nil
		case !errors.Is(err, tokenstore.ErrConflict):
			return "", fmt.Errorf("saving account %s: %w", id, err)
		}
	}
	return "", refusedf("saving account %s: somebody keeps changing it: try again", id)
}

// given is the record as it is to be.
func (s *Session) given(id tokenstore.AccountID, old tokenstore.Record, v tokenstore.Version, apply func(*tokenstore.Record)) tokenstore.Record {
	old = old.Clone()
	next := old.Clone()
	if next.Labels[copiedTo] != "" && next.Labels[copiedState] != string(tokenstore.Paused) {
		next.State = tokenstore.Active // as before it was moved
	}
	delete(next.Labels, copiedTo)
	delete(next.Labels, copiedState)
	apply(&next)
	if v == 0 || old.Provider == "" {
		next.Rotation, next.Former = tokenstore.Rotation{Incarnation: tokenstore.NewIncarnation(), Writer: writer}, nil
		return next
	}
	kept := next.AccessToken.IsZero() && next.Provider == old.Provider
	if kept {
		next.AccessToken, next.TokenType, next.ExpiresAt, next.ObtainedAt = old.AccessToken, old.TokenType, old.ExpiresAt, old.ObtainedAt
	} else if next.Provider != old.Provider && next.AccessToken.Equal(old.AccessToken) {
		next = next.WithoutToken() // no other provider takes it
	}
	return tokenstore.Replace(id, old, next, time.Now())
}

// saying tells what a write has done to an account.
func saying(cmd *cobra.Command, id tokenstore.AccountID, old, next tokenstore.Record, v tokenstore.Version) string {
	switch {
	case v == 0:
		return "is added"
	case old.Provider == "": // it could not be read, or was deleted
		return "is updated"
	case old.Former != nil && next.Former == nil && !next.Credential().Equal(old.Credential()):
		fmt.Fprintf(cmd.ErrOrStderr(), "note: account %s has its former credential again: nothing is spent\n", id)
	case sameSecret(old, next):
		fmt.Fprintf(cmd.ErrOrStderr(), "note: account %s has this credential already: nothing is spent\n", id)
	case next.Former != nil:
		fmt.Fprintf(cmd.ErrOrStderr(), "note: account %s serves on with its access token while that lives, and its former credential is kept, until the service has exchanged the new one: see tokenward status\n", id)
	}
	return "is updated"
}

func sameSecret(a, b tokenstore.Record) bool {
	pairs := [][2]tokenstore.Secret{{a.RefreshToken, b.RefreshToken}, {a.ClientSecret, b.ClientSecret}, {a.APIKey, b.APIKey}, {a.AccessToken, b.AccessToken}}
	return !slices.ContainsFunc(pairs, func(p [2]tokenstore.Secret) bool { return !p[0].Equal(p[1]) })
}
