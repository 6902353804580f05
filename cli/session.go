package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// Session is what a command works on: the configured store and drivers.
type Session struct {
	Backend tokenstore.Backend // nil for commands that ask the running service
	// StoreKind is sqlite or vault; StoreAt names the store for people, and two sessions with the same one share it.
	StoreKind, StoreAt string

	Drivers map[string]tokenstore.Driver // by provider name
	Pools   map[string]tokenstore.PoolConfig
	// Domain builds a store for one-off refreshes; its renewal is not started.
	Domain func() (*tokenstore.Store, error)
	// Admin is the address and the token file of the running service.
	AdminURL       string
	AdminTokenFile string
	AdminCAFile    string

	holders *holders // nil: not looked up yet
}

// Open opens a session for the configuration file, with the store or without it.
type Open func(ctx context.Context, configFile string, withStore bool) (*Session, error)

// app is what the commands share.
type app struct {
	open   Open
	kinds  []string // record types, for help
	config string
	output string
}

// Commands returns `accounts` and `status`. kinds are the record types that `accounts add` names in its help.
func Commands(open Open, kinds ...string) []*cobra.Command {
	a := &app{open: open, kinds: kinds}
	cmds := []*cobra.Command{a.accounts(), a.status()}
	for _, c := range cmds {
		c.PersistentFlags().StringVarP(&a.config, "config", "c", "", "configuration file (default ./tokenward.yaml)")
		c.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "text or json")
	}
	return cmds
}

// with opens the session for the time of f.
func (a *app) with(cmd *cobra.Command, f func(ctx context.Context, s *Session) error) error {
	s, err := a.session(cmd, true)
	if err != nil {
		return err
	}
	return errors.Join(f(cmd.Context(), s), s.Backend.Close())
}

// withAccount is with for a command on one account, as its argument names it.
func (a *app) withAccount(
	cmd *cobra.Command, name string, f func(ctx context.Context, s *Session, id tokenstore.AccountID) error,
) error {
	id, err := accountID(name)
	if err != nil {
		return err
	}
	return a.with(cmd, func(ctx context.Context, s *Session) error { return f(ctx, s, id) })
}

// withService prepares a session for asking the running service; the store may be out of reach.
func (a *app) withService(cmd *cobra.Command, f func(ctx context.Context, s *Session) error) error {
	s, err := a.session(cmd, false)
	if err != nil {
		return err
	}
	return f(cmd.Context(), s)
}

func (a *app) session(cmd *cobra.Command, withStore bool) (*Session, error) {
	if a.output != "text" && a.output != "json" {
		return nil, Usagef("output %q: use text or json", a.output)
	}
	return a.open(cmd.Context(), a.config, withStore)
}

// errUnchanged ends an edit that has nothing to write.
var errUnchanged = errors.New("there is nothing to change")

// absent reports that there is no record, or none for now: a new one may be written.
func absent(err error) bool {
	return errors.Is(err, tokenstore.ErrNotFound) || errors.Is(err, tokenstore.ErrDeleted)
}

func notFound(id tokenstore.AccountID) error {
	return fmt.Errorf("account %s does not exist: see tokenward accounts list", id)
}

func accountID(s string) (tokenstore.AccountID, error) {
	id := tokenstore.AccountID(s)
	if err := id.Validate(); err != nil {
		return "", &ExitError{ExitUsage, err}
	}
	return id, nil
}

// whenAt is when for a time of the admin API.
func whenAt(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Until(t).Round(time.Second)
	if d == 0 {
		return "now"
	}
	if d < 0 {
		return (-d).String() + " ago"
	}
	return "in " + d.String()
}
