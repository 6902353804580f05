package cli

import (
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
	provider, kind, tenant, clientID, scope                    string
	pools                                                      []string
	labels                                                     map[string]string
	limits                                                     tokenstore.Limits
	refreshToken, clientSecret, apiKey, accessToken, expiresAt string

	force bool
}

func (a *app) add() *cobra.Command {
	var n newAccount
	c := &cobra.Command{
		Use: "add ID", Short: "add an account, or give an existing one a new credential", Args: cobra.ExactArgs(1),
		Example: "  tokenward accounts add claude-1 --provider anthropic --type ANTHROPIC_OAUTH --client-id ID --refresh-token-file -",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := accountID(args[0])
			if err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, s *Session) error { return a.addAccount(cmd, ctx, s, id, n) })
		},
	}
	f := c.Flags()
	f.StringVar(&n.provider, "provider", "", "provider of the configuration (required for a new account)")
	f.StringVar(&n.kind, "type", "", "oauth_refresh, client_credentials, api_key, ANTHROPIC_OAUTH, CLAUDE_CODE (required for a new account)")
	f.StringSliceVar(&n.pools, "pool", nil, "pool to serve; repeatable (default: the pool with the provider's name)")
	f.StringVar(&n.tenant, "tenant", "", "the only tenant to serve")
	f.StringToStringVar(&n.labels, "label", nil, "key=value; repeatable")
	f.IntVar(&n.limits.RPM, "rpm", 0, "most attempts in any 60 seconds that each process gives to it; 0 ends the limit")
	f.IntVar(&n.limits.Concurrency, "concurrency", 0, "most attempts at once, until response headers, that each process gives to it; 0 ends the limit")
	f.StringVar(&n.clientID, "client-id", "", "OAuth client id")
	f.StringVar(&n.scope, "scope", "", "OAuth scope")
	f.StringVar(&n.refreshToken, "refresh-token-file", "", "file with the refresh token, - for standard input")
	f.StringVar(&n.clientSecret, "client-secret-file", "", "file with the client secret, - for standard input")
	f.StringVar(&n.apiKey, "api-key-file", "", "file with the API key, - for standard input")
	f.StringVar(&n.accessToken, "access-token-file", "", "file with an access token that still lives, - for standard input")
	f.StringVar(&n.expiresAt, "expires-at", "", "when that access token ends, RFC 3339")
	f.BoolVar(&n.force, "force", false, "also an account that accounts copy moved to another store: it gets a life of its own here")
	return c
}

func (a *app) addAccount(cmd *cobra.Command, ctx context.Context, s *Session, id tokenstore.AccountID, n newAccount) error {
	apply, err := n.read(cmd)
	if err != nil {
		return err
	}
	return a.put(cmd, ctx, s, id, over{replace: true, force: n.force}, apply)
}

// over is which accounts that exist a command may write over.
type over struct {
	replace bool // those that are there
	force   bool // those that accounts copy moved to another store
}

// refuse looks at what a load gave: nil when the command may write over it.
func (o over) refuse(r tokenstore.Record, err error) error {
	switch to := r.Labels[copiedTo]; {
	case errors.Is(err, tokenstore.ErrNotFound):
		return nil
	case !o.replace:
		return refusedf("it exists, and its refresh token may be newer than the file's: give --replace to overwrite it")
	case to != "" && !o.force:
		return refusedf("its live copy is in %s, and a refresh token must not have two owners: copy it back, or give --force if that copy is to be another account", to)
	}
	return nil
}

// put creates the account or changes it, and gives it a new incarnation: what was known of the old credential is history.
func (a *app) put(cmd *cobra.Command, ctx context.Context, s *Session, id tokenstore.AccountID, o over, apply func(*tokenstore.Record)) error {
	for range 10 {
		r, v, err := s.Backend.Load(ctx, id)
		if err != nil && !absent(err) && !errors.Is(err, tokenstore.ErrUnreadable) {
			return fmt.Errorf("reading account %s: %w", id, err)
		}
		if err := o.refuse(r, err); err != nil {
			return fmt.Errorf("adding account %s: %w", id, err)
		}
		verb := "added"
		if v != 0 {
			verb = "updated"
		}
		r = r.Clone()
		r.AccessToken, r.ExpiresAt, r.ObtainedAt = tokenstore.Secret{}, time.Time{}, time.Time{}
		r.Rotation = tokenstore.Rotation{Incarnation: tokenstore.NewIncarnation(), Generation: r.Rotation.Generation, Writer: "operator"}
		if r.Labels[copiedTo] != "" && r.Labels[copiedState] != string(tokenstore.Paused) {
			r.State = tokenstore.Active // as before it was moved
		}
		pools := r.Pools
		delete(r.Labels, copiedTo)
		delete(r.Labels, copiedState)
		apply(&r)
		if err := check(s, r); err != nil {
			return Usagef("adding account %s: %w", id, err)
		}
		if strange := tokenstore.StrangePools(r, s.Pools); len(strange) > 0 && !slices.Equal(pools, r.Pools) { // the old ones may be another service's
			return Usagef("adding account %s: %s: name others, or add it under pools", id, strings.Join(strange, ", "))
		}
		switch _, err = s.Backend.CompareAndSwap(ctx, id, r, v); {
		case err == nil:
			return a.done(cmd, "account %s is %s", id, verb)
		case !errors.Is(err, tokenstore.ErrConflict):
			return fmt.Errorf("saving account %s: %w", id, err)
		}
	}
	return refusedf("saving account %s: somebody keeps changing it: try again", id)
}

// read loads the secrets and returns what puts everything into a record. What was not given stays as it is.
func (n newAccount) read(cmd *cobra.Command) (func(*tokenstore.Record), error) {
	var secrets [4]tokenstore.Secret
	stdin := 0
	files := []string{n.refreshToken, n.clientSecret, n.apiKey, n.accessToken}
	for _, path := range files {
		if path == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return nil, Usagef("only one secret can come from standard input: put the others into files")
	}
	for i, path := range files {
		var err error
		if secrets[i], err = readSecret(cmd, path); err != nil {
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
	rpm, concurrency := cmd.Flags().Changed("rpm"), cmd.Flags().Changed("concurrency")
	return func(r *tokenstore.Record) {
		if rpm {
			r.Limits.RPM = n.limits.RPM
		}
		if concurrency {
			r.Limits.Concurrency = n.limits.Concurrency
		}
		for dst, v := range map[*string]string{&r.Provider: n.provider, &r.Tenant: n.tenant, &r.ClientID: n.clientID, &r.Scope: n.scope} {
			if v != "" {
				*dst = v
			}
		}
		for dst, v := range map[*tokenstore.Secret]tokenstore.Secret{&r.RefreshToken: secrets[0], &r.ClientSecret: secrets[1], &r.APIKey: secrets[2], &r.AccessToken: secrets[3]} {
			if !v.IsZero() {
				*dst = v
			}
		}
		if n.kind != "" {
			r.Kind = tokenstore.Kind(n.kind)
		}
		if len(n.pools) > 0 {
			r.Pools = n.pools
		}
		if len(n.labels) > 0 {
			r.Labels = n.labels
		}
		if !expires.IsZero() {
			r.ExpiresAt, r.ObtainedAt = expires.UTC(), time.Now().UTC()
		}
	}, nil
}
