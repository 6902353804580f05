package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// defaultConfig is the file that commands read when none is named.
const defaultConfig = "tokenward.yaml"

func (a *app) copyAccounts() *cobra.Command {
	var to, from string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "copy [ID...]",
		Short: "move accounts to another store; here they are paused",
		Long: "copy moves accounts, or all of them, to the store of another configuration. -c names the file of the " +
			"TARGET, --to says which kind of store it must\n" +
			"have, so that a swapped file is noticed; the source is ./tokenward.yaml, or --from-config.\n\n" +
			"A refresh token has one owner. An account is paused at the source, written to the target as paused, read back " +
			"and compared by fingerprints, and only then\n" +
			"made active at the target. If a step fails, the steps before it are undone. The source keeps its record, paused " +
			"and labelled " + copiedTo + ";\n" +
			"`accounts resume` refuses it, and copying back replaces it. An account that the target has with another " +
			"credential is refused. What an interrupted copy left\n" +
			"is finished by the same command. Services may run on both stores. A target in Vault needs the operator's policy " +
			"(docs/vault.md).",
		Example: "  tokenward accounts copy --to vault -c vault.yaml                                  # from " +
			"./tokenward.yaml\n" +
			"  tokenward accounts copy acme-1 --to sqlite -c local.yaml --from-config vault.yaml   # and back",
		RunE: func(cmd *cobra.Command, args []string) error {
			if to != "vault" && to != "sqlite" {
				return Usagef("copy --to %q: say which kind of store the target has, vault or sqlite", to)
			}
			if a.config == "" {
				return Usagef(
					"copy --to %s: -c names the configuration of the target, and there is none: e.g. tokenward accounts copy --to "+
						"%s -c other.yaml; the source is ./%s, or --from-config",
					to, to, defaultConfig,
				)
			}
			if filepath.Clean(a.config) == filepath.Clean(from) {
				return Usagef(
					"copy: source and target are both %s: -c names the target's configuration, --from-config the source's", from,
				)
			}
			return a.copyBetween(cmd, from, to, args, wait)
		},
	}
	c.Flags().StringVar(&to, "to", "", "vault or sqlite: the kind of store that the file of -c configures (required)")
	c.Flags().StringVar(&from, "from-config", defaultConfig, "configuration file of the source")
	c.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for a refresh that is under way")
	return c
}

// copied is what became of one account.
type copied struct {
	ID     tokenstore.AccountID     `json:"accountId"`
	Result string                   `json:"result"` // copied | present | failed
	State  tokenstore.OperatorState `json:"state,omitempty"`
	Error  string                   `json:"error,omitempty"`
}

func (a *app) copyBetween(cmd *cobra.Command, from, to string, ids []string, wait time.Duration) (err error) {
	target, err := a.session(cmd, true)
	if err != nil {
		return fmt.Errorf("copy: opening the target of %s: %w", a.config, err)
	}
	defer func() { err = errors.Join(err, target.Backend.Close()) }()
	if target.StoreKind != to {
		return Usagef("copy --to %s: the store in %s is %s: -c names the target's configuration, --from-config the source's",
			to, a.config, target.StoreKind)
	}
	source, err := a.open(cmd.Context(), from, true)
	if err != nil {
		return fmt.Errorf("copy: opening the source of %s (--from-config): %w", from, err)
	}
	defer func() { err = errors.Join(err, source.Backend.Close()) }()
	if source.StoreAt == target.StoreAt {
		return Usagef("copy: %s and %s configure the same store, %s: nothing to copy", from, a.config, target.StoreAt)
	}
	names, err := accountsNamed(cmd.Context(), source.Backend, ids)
	if err != nil {
		return err
	}
	results := make([]copied, 0, len(names))
	var errs []error
	for _, id := range names {
		h := handover{id: id, source: source, target: target, wait: wait}
		r, err := h.run(cmd.Context())
		if err != nil {
			r = copied{ID: id, Result: "failed", Error: err.Error()}
			errs = append(errs, fmt.Errorf("copying account %s: %w", id, err))
		}
		results = append(results, r)
	}
	errs = append(errs, a.print(cmd.OutOrStdout(), results, func(w io.Writer) {
		for _, r := range results {
			row(w, r.ID, r.Result, dash(string(r.State)), r.Error)
		}
		fmt.Fprintf(w, "from %s to %s\n", source.StoreAt, target.StoreAt)
	}))
	if err := errors.Join(errs...); err != nil {
		return &ExitError{ExitFailed, err} // whatever the single reasons are
	}
	return nil
}

// accountsNamed checks the ids given; none: every account of the store, sorted.
func accountsNamed(ctx context.Context, b tokenstore.Backend, ids []string) ([]tokenstore.AccountID, error) {
	var out []tokenstore.AccountID
	if len(ids) == 0 {
		heads, err := b.List(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing accounts: %w", err)
		}
		for _, h := range heads {
			out = append(out, h.ID)
		}
	}
	for _, name := range ids {
		id, err := accountID(name)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
