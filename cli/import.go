package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

func (a *app) importAccounts() *cobra.Command {
	var from, file, provider, clientID, pass string
	var o over
	var pools []string
	c := &cobra.Command{
		Use:   "import [ID...]",
		Short: "take accounts over from another program's file, or from a sealed one",
		Long: "import --from claude reads Claude Code's credentials file into account ID. Its refresh token is single use: " +
			"from then on it belongs to\n" +
			"tokenward, and Claude Code will be signed out at its next refresh.\n" +
			"import --from json reads an object that maps account ids to records: provider, type (both required), pools, " +
			"tenant, labels, limits, state, client_id,\n" +
			"client_secret, refresh_token, api_key, scope, access_token, expires_at (RFC 3339), as a record in Vault has " +
			"them.\n" +
			"import --from sealed reads what accounts export wrote: all of it, or the accounts named.\n\n" +
			"An account that exists is refused unless --replace is given: its refresh token may be newer than the file's, and " +
			"what a strict provider has\n" +
			"replaced it refuses, and the account with it. The others are imported. One that accounts copy moved away wants " +
			"--force, too.",
		Example: "  tokenward accounts import --from json --file bulk.json\n" +
			`  {"claude-1": {"provider": "anthropic", "type": "ANTHROPIC_OAUTH", ` +
			`"client_id": "ID", "refresh_token": "…", "pools": ["anthropic"]}}`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if from != "sealed" && (len(args) > 1 || pass != "") {
				return Usagef("import --from %s: more than one account and --passphrase-file are for --from sealed", from)
			}
			return a.with(cmd, func(ctx context.Context, s *Session) error {
				switch from {
				case "sealed":
					return a.importSealed(cmd, ctx, s, args, file, pass, o)
				case "claude":
					if len(args) != 1 {
						return Usagef("import --from claude: name the account, e.g. tokenward accounts import --from claude claude-1")
					}
					return a.importClaude(cmd, ctx, s, args[0], file, provider, clientID, pools, o)
				case "json":
					if len(args) > 0 {
						return Usagef("import --from json: it takes all accounts of the file: name none")
					}
					return a.importJSON(cmd, ctx, s, file, o)
				}
				return Usagef("import --from %q: use claude, json or sealed", from)
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "claude, json or sealed")
	c.Flags().StringVar(&file, "file", "", "the file (default for claude: ~/.claude/.credentials.json)")
	c.Flags().StringVar(&provider, "provider", "anthropic", "provider of the configuration")
	c.Flags().StringVar(&clientID, "client-id", "",
		"OAuth client id that the refresh token was issued to; without it the token "+
			"is used and never refreshed")
	c.Flags().StringVar(&pass, "passphrase-file", "",
		"for sealed: file with the passphrase, - for standard input (default: ask "+
			"at the terminal)")
	c.Flags().BoolVar(&o.replace, "replace", false, "overwrite accounts that exist")
	c.Flags().BoolVar(&o.force, "force", false, "with --replace: also accounts that accounts copy moved to another store")
	c.Flags().StringSliceVar(&pools, "pool", nil, "pool to serve; repeatable")
	return c
}

func (a *app) importJSON(cmd *cobra.Command, ctx context.Context, s *Session, file string, o over) error {
	if file == "" {
		return Usagef("import --from json: give --file")
	}
	data, err := readJSON(cmd, "--file", file, "accounts")
	var unread *unreadError
	switch {
	case errors.As(err, &unread):
		return fmt.Errorf("importing: %w", err)
	case err != nil:
		return Usagef("importing %s: it must be a JSON object that maps account ids to records: %w", file, err)
	}
	var records map[string]json.RawMessage
	if json.Unmarshal(data, &records) != nil {
		return Usagef("importing %s: it must be a JSON object that maps account ids to records", file)
	}
	if len(records) == 0 {
		return Usagef("importing %s: it holds no account: nothing was imported", file)
	}
	var t tally
	for _, name := range slices.Sorted(maps.Keys(records)) {
		t.add(a.importRecord(cmd, ctx, s, name, records[name], o))
	}
	return t.report(a, cmd)
}

// importRecord puts one record of a file into the store.
func (a *app) importRecord(
	cmd *cobra.Command, ctx context.Context, s *Session, name string, data json.RawMessage, o over,
) (tokenstore.AccountID, string, error) {
	id, err := accountID(name)
	if err != nil {
		return id, "", err
	}
	r, err := tokenstore.DecodeRecord(data)
	if err == nil {
		err = r.Faultless() // what is in a store already is served around; what is to be stored is to be right
	}
	if err != nil {
		return id, "", fmt.Errorf("importing account %s: %w", id, err)
	}
	became, err := s.put(cmd, ctx, id, o, func(dst *tokenstore.Record) { *dst = r })
	var wrong *tokenstore.RecordError
	for _, hint := range r.Hints() {
		switch {
		case err == nil:
			fmt.Fprintf(cmd.ErrOrStderr(), "note: account %s: %s\n", id, hint)
		case errors.As(err, &wrong):
			err = fmt.Errorf("%w; %s", err, hint)
		}
	}
	return id, became, err
}
