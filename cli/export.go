package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

func (a *app) export() *cobra.Command {
	var file, pass string
	c := &cobra.Command{
		Use:   "export [ID...] -o FILE",
		Short: "write accounts to one sealed file: the backup",
		Long: "export writes all accounts, or those named, with their secrets to one file sealed with a passphrase (age, " +
			"scrypt; mode 0600; `age -d` opens it too).\n" +
			"accounts import --from sealed reads it back. An existing file is refused. The passphrase comes from " +
			"--passphrase-file, or is asked at the terminal.\n\n" +
			"A provider with single-use refresh tokens makes the file's worthless at the account's next refresh: pause " +
			"accounts first if the file is to replace them.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return Usagef("export: give -o FILE")
			}
			if file == "json" || file == "text" {
				return Usagef(
					"export -o %s: here -o names the file to write, and there is no output format: give e.g. -o accounts.age, or "+
						"./%s for a file of that name",
					file, file,
				)
			}
			if _, err := os.Lstat(file); err == nil {
				return existing(file) // before anybody is asked for a passphrase
			}
			secret, err := passphrase(cmd, pass, true)
			if err != nil {
				return err
			}
			return a.with(cmd,
				func(ctx context.Context, s *Session) error { return a.exportTo(cmd, ctx, s, args, file, secret) })
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "the file to write (required)")
	c.Flags().StringVar(&pass, "passphrase-file", "",
		"file with the passphrase, - for standard input (default: ask at the "+
			"terminal)")
	return c
}

func (a *app) exportTo(cmd *cobra.Command, ctx context.Context, s *Session, names []string, file, pass string) error {
	ids, err := accountsNamed(ctx, s.Backend, names)
	if err != nil {
		return err
	}
	out := sealedFile{Format: sealedFormat, Accounts: map[tokenstore.AccountID]json.RawMessage{}}
	var errs []error
	for _, id := range ids {
		r, _, err := s.Backend.Load(ctx, id)
		switch {
		case errors.Is(err, tokenstore.ErrNotFound):
			errs = append(errs, notFound(id))
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("account %s is not in the file: %w", id, err))
			continue
		}
		if out.Accounts[id], err = tokenstore.EncodeRecord(r); err != nil {
			return err
		}
	}
	if len(out.Accounts) == 0 {
		return errors.Join(append(errs, errors.New("exporting: there is no account to write: no file was written"))...)
	}
	if err := seal(file, pass, out); err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, a.done(cmd, "%d accounts are in %s", len(out.Accounts), file))
	return errors.Join(errs...) // a backup that lacks an account must not look like a whole one
}

// importSealed reads a sealed file back: all its accounts, or those named.
func (a *app) importSealed(
	cmd *cobra.Command, ctx context.Context, s *Session, names []string, file, pass string, o over,
) error {
	if file == "" {
		return Usagef("import --from sealed: give --file")
	}
	secret, err := passphrase(cmd, pass, false)
	if err != nil {
		return err
	}
	f, err := unseal(file, secret)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		for id := range f.Accounts {
			names = append(names, string(id))
		}
	}
	ids, err := accountsNamed(ctx, s.Backend, names)
	if err != nil || len(names) == 0 {
		return err
	}
	var t tally
	for _, id := range ids {
		raw, ok := f.Accounts[id]
		if !ok {
			t.add(id, "", fmt.Errorf("importing account %s: it is not in %s", id, file))
			continue
		}
		r, err := tokenstore.DecodeRecord(raw)
		if err == nil {
			err = restore(cmd, ctx, s, id, r, o)
		}
		if err != nil {
			err = fmt.Errorf("importing account %s: %w", id, err)
		}
		t.add(id, "is imported", err)
	}
	return t.report(a, cmd)
}

// restore writes a record from a backup. Claims and write ids in it are another life's; over an account that is there,
// it is a new credential like any other.
func restore(
	cmd *cobra.Command, ctx context.Context, s *Session, id tokenstore.AccountID, r tokenstore.Record, o over,
) error {
	if err := cmp.Or(check(s, r), tokenstore.Flaw(r)); err != nil {
		return err
	}
	there, v, err := s.Backend.Load(ctx, id)
	if err != nil && !absent(err) && !errors.Is(err, tokenstore.ErrUnreadable) {
		return fmt.Errorf("reading it: %w", err)
	}
	if err := o.refuse(there, err); err != nil {
		return err
	}
	if err := s.mayHave(cmd, ctx, id, there, r); err != nil {
		return err
	}
	last, generation := r.Rotation.Last, max(r.Rotation.Generation, there.Rotation.Generation)
	if there.Provider == "" {
		r.Rotation = tokenstore.Rotation{Incarnation: tokenstore.NewIncarnation(), Last: last}
	} else {
		if r.Provider == there.Provider && there.ExpiresAt.After(r.ExpiresAt) { // it lives longer
			r.AccessToken, r.TokenType = there.AccessToken, there.TokenType
			r.ExpiresAt, r.ObtainedAt = there.ExpiresAt, there.ObtainedAt
		}
		if r = tokenstore.Replace(id, there, r, time.Now()); r.Rotation.Incarnation != there.Rotation.Incarnation {
			r.Rotation.Last = last
		}
	}
	r.Rotation.Generation = generation
	s.hold(id, r)
	if _, err := write(ctx, s.Backend, id, r, v); errors.Is(err, tokenstore.ErrConflict) {
		return refusedf("somebody changed it meanwhile: try again")
	} else if err != nil {
		return fmt.Errorf("saving it: %w", err)
	}
	return nil
}
