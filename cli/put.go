package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// over is which accounts that exist a command may write over.
type over struct {
	replace bool   // those that are there
	force   bool   // those that accounts copy moved to another store
	without string // why none of them: the command brings no credential
	paste   bool   // the command is about single secrets: an access token is not to make matters worse
}

// errExists marks the refusal of an account that is there.
var errExists = errors.New(
	"it exists, and its refresh token may be newer than the file's: give --replace to overwrite it",
)

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
		return refusedf(
			"its live copy is in %s, and a refresh token must not have two owners: copy it back, or give --force if that copy "+
				"is to be another account",
			to,
		)
	}
	return nil
}

// put creates the account or changes it, and says what became of it. A new credential starts a new incarnation, beside
// the former one.
func (s *Session) put(
	cmd *cobra.Command, ctx context.Context, id tokenstore.AccountID, o over, apply func(*tokenstore.Record),
) (became string, err error) {
	tried := "adding account " + string(id)
	var old half
	done, err := update(ctx, s.Backend, id, func(was half, err error) (next tokenstore.Record, _ error) {
		old = was
		if err := o.refuse(old.record, err); err != nil {
			return next, fmt.Errorf("%s: %w", tried, err)
		}
		next = s.given(id, old.record, old.version, apply)
		if err := cmp.Or(check(s, next), tokenstore.Flaw(next)); err != nil {
			return next, Usagef("%s: %w", tried, err)
		}
		if err := s.fits(tried, old.record, next); err != nil {
			return next, err
		}
		if err := s.needless(id, old.record, next); err != nil && o.paste && !o.force {
			return next, fmt.Errorf("%s: %w", tried, err)
		}
		if err := s.mayHave(cmd, ctx, id, old.record, next); err != nil {
			return next, fmt.Errorf("%s: %w", tried, err)
		}
		return next, nil
	})
	if err != nil {
		return "", err
	}
	s.hold(id, done.record)
	return saying(cmd, id, old.record, done.record, old.version), nil
}

// given is the record as it is to be.
func (s *Session) given(
	id tokenstore.AccountID, old tokenstore.Record, v tokenstore.Version, apply func(*tokenstore.Record),
) tokenstore.Record {
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
	if next.AccessToken.IsZero() && next.Provider == old.Provider {
		next.AccessToken, next.TokenType = old.AccessToken, old.TokenType
		next.ExpiresAt, next.ObtainedAt = old.ExpiresAt, old.ObtainedAt
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
		fmt.Fprintf(cmd.ErrOrStderr(),
			"note: account %s serves on with its access token while that lives, and its former credential is kept, until the "+
				"service has exchanged the new one: see tokenward status\n",
			id)
	}
	return "is updated"
}

func sameSecret(a, b tokenstore.Record) bool {
	pairs := [][2]tokenstore.Secret{
		{a.RefreshToken, b.RefreshToken},
		{a.ClientSecret, b.ClientSecret},
		{a.APIKey, b.APIKey},
		{a.AccessToken, b.AccessToken},
	}
	return !slices.ContainsFunc(pairs, func(p [2]tokenstore.Secret) bool { return !p[0].Equal(p[1]) })
}
