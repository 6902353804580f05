package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

func (a *app) accounts() *cobra.Command {
	c := &cobra.Command{
		Use: "accounts", Short: "list and change accounts in the store", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(a.list(), a.show(), a.add(), a.set(), a.importAccounts(),
		a.setState("pause", "no more attempts and refreshes", tokenstore.Paused),
		a.setState("resume", "serve and refresh again", tokenstore.Active), a.refresh(), a.remove(), a.copyAccounts(),
		a.export())
	return c
}

// view is what may be shown of a stored record.
type view struct {
	ID           tokenstore.AccountID    `json:"accountId"`
	Provider     string                  `json:"provider"`
	Type         tokenstore.Kind         `json:"type"`
	Pools        []string                `json:"pools"`
	Tenant       string                  `json:"tenant,omitempty"`
	Labels       map[string]string       `json:"labels,omitempty"`
	Limits       *limitsView             `json:"limits,omitempty"`
	State        tokenstore.AccountState `json:"state"`
	ClientID     string                  `json:"clientId,omitempty"`
	AccessToken  string                  `json:"accessTokenFingerprint,omitempty"`
	RefreshToken string                  `json:"refreshTokenFingerprint,omitempty"`
	ExpiresAt    time.Time               `json:"expiresAt,omitzero"`
	Generation   tokenstore.Generation   `json:"generation"`
	Version      tokenstore.Version      `json:"version"`
	Last         *tokenstore.Outcome     `json:"lastRefresh,omitempty"`
	Problem      string                  `json:"problem,omitempty"`
}

type limitsView struct {
	RPM         int `json:"rpm,omitempty"`
	Concurrency int `json:"concurrency,omitempty"`
}

func (l *limitsView) String() string {
	var parts []string
	if l != nil && l.RPM > 0 {
		parts = append(parts, fmt.Sprintf("%d rpm", l.RPM))
	}
	if l != nil && l.Concurrency > 0 {
		parts = append(parts, fmt.Sprintf("%d at once", l.Concurrency))
	}
	return strings.Join(parts, ", ")
}

func viewOf(s *Session, id tokenstore.AccountID, r tokenstore.Record, v tokenstore.Version, err error) view {
	st := tokenstore.StoredStatus(id, r, err, s.Drivers, s.Pools, time.Now())
	if err != nil && len(r.Slips) == 0 { // with slips the rest of it is known
		return view{ID: id, Version: v, State: st.State, Problem: st.Reason}
	}
	out := view{
		ID:           id,
		Provider:     r.Provider,
		Type:         r.Kind,
		Pools:        r.Serves(),
		Tenant:       r.Tenant,
		Labels:       r.Labels,
		ClientID:     r.ClientID,
		AccessToken:  tokenstore.Fingerprint(id, r.AccessToken),
		RefreshToken: tokenstore.Fingerprint(id, r.RefreshToken),
		ExpiresAt:    st.ExpiresAt,
		Generation:   r.Rotation.Generation,
		Version:      v,
	}
	if st.Last != nil {
		last := *st.Last
		last.Fingerprint = "" // of the credential: a client secret that somebody chose could be guessed from it
		out.Last = &last
	}
	if l := r.Limits; l.RPM > 0 || l.Concurrency > 0 {
		out.Limits = &limitsView{l.RPM, l.Concurrency}
	}
	out.State, out.Problem = st.State, st.Reason
	return out
}

// check says why a record could not be used with this configuration.
func check(s *Session, r tokenstore.Record) error { return tokenstore.Check(r, s.Drivers, s.Pools) }

func (a *app) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "all accounts in the store",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, s *Session) error {
				heads, err := s.Backend.List(ctx)
				if err != nil {
					return fmt.Errorf("listing accounts: %w", err)
				}
				slices.SortFunc(heads, func(x, y tokenstore.Head) int { return strings.Compare(string(x.ID), string(y.ID)) })
				views := make([]view, 0, len(heads))
				for _, h := range heads {
					r, v, err := s.Backend.Load(ctx, h.ID)
					if errors.Is(err, tokenstore.ErrNotFound) {
						continue
					}
					views = append(views, viewOf(s, h.ID, r, max(v, h.Version), err))
				}
				return a.print(cmd.OutOrStdout(), views, func(w io.Writer) {
					row(w, "ACCOUNT", "PROVIDER", "TYPE", "POOLS", "STATE", "TOKEN ENDS", "LAST REFRESH", "PROBLEM")
					for _, v := range views {
						row(w, v.ID, v.Provider, v.Type, dash(strings.Join(v.Pools, ",")), v.State, when(v.ExpiresAt), lastOf(v.Last),
							dash(a.withConfig(v.Problem)))
					}
				})
			})
		},
	}
}

func (a *app) show() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "one account: fingerprints, never secrets",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAccount(cmd, args[0], func(ctx context.Context, s *Session, id tokenstore.AccountID) error {
				r, v, err := s.Backend.Load(ctx, id)
				if errors.Is(err, tokenstore.ErrNotFound) {
					return notFound(id)
				}
				if err != nil && !errors.Is(err, tokenstore.ErrUnreadable) && !errors.Is(err, tokenstore.ErrDeleted) {
					return fmt.Errorf("reading account %s: %w", id, err)
				}
				shown := viewOf(s, id, r, v, err)
				return a.print(cmd.OutOrStdout(), shown, func(w io.Writer) {
					for _, line := range [][2]string{
						{"account", string(shown.ID)},
						{"provider", shown.Provider},
						{"type", string(shown.Type)},
						{"pools", dash(strings.Join(shown.Pools, ","))},
						{"tenant", dash(shown.Tenant)},
						{"labels", dash(pairs(shown.Labels))},
						{"limits", dash(shown.Limits.String())},
						{"state", string(shown.State)},
						{"client id", dash(shown.ClientID)},
						{"refresh token", dash(shown.RefreshToken)},
						{"access token", dash(shown.AccessToken)},
						{"token ends", when(shown.ExpiresAt)},
						{"generation", fmt.Sprint(shown.Generation)},
						{"version", fmt.Sprint(shown.Version)},
						{"last refresh", lastOf(shown.Last)},
						{"problem", dash(a.withConfig(shown.Problem))},
					} {
						row(w, line[0], line[1])
					}
				})
			})
		},
	}
}

// pairs are labels as a record takes them.
func pairs(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ",")
}

func (a *app) remove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "delete an account from the store",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAccount(cmd, args[0], func(ctx context.Context, s *Session, id tokenstore.AccountID) error {
				if err := remove(ctx, s.Backend, id); err != nil {
					return err
				}
				return a.done(cmd, "account %s is removed", id)
			})
		},
	}
}

// remove deletes the record, whatever version it has by now: the operator wants it gone.
func remove(ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID) error {
	_, err := update(ctx, b, id, func(_ half, err error) (tokenstore.Record, error) {
		if errors.Is(err, tokenstore.ErrNotFound) {
			return tokenstore.Record{}, notFound(id)
		}
		return tokenstore.Record{}, errRemove
	})
	return err
}

// print writes v as JSON, or the table that text draws.
func (a *app) print(out io.Writer, v any, text func(io.Writer)) error {
	if a.output == "json" {
		data, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			_, err = out.Write(append(CleanJSON(data), '\n'))
		}
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

func (a *app) done(cmd *cobra.Command, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return a.print(cmd.OutOrStdout(), map[string]string{"done": message}, func(w io.Writer) { fmt.Fprintln(w, message) })
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func lastOf(o *tokenstore.Outcome) string {
	if o == nil {
		return "-"
	}
	s := o.Result + " " + when(o.At)
	if o.Class != "" {
		s += " (" + string(o.Class) + ")"
	}
	return s
}
