package cli

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// settings are what an operator may change of an account without touching its secrets. What is not given stays as it
// is.
type settings struct {
	cmd              *cobra.Command
	pools            []string
	tenant           string
	labels           map[string]string
	unlabel          []string
	rpm, concurrency int
	clientID, scope  string
}

func (n *settings) flags(c *cobra.Command) {
	n.cmd = c
	f := c.Flags()
	f.StringSliceVar(&n.pools, "pool", nil,
		"pool to serve; repeatable (default, and with \"\": the pool with the provider's name)")
	f.StringVar(&n.tenant, "tenant", "", "the only tenant to serve; \"\" for all")
	f.StringToStringVar(&n.labels, "label", nil, "key=value; repeatable; key= removes it")
	f.StringSliceVar(&n.unlabel, "unlabel", nil, "label to remove; repeatable")
	f.IntVar(&n.rpm, "rpm", 0, "most attempts in any 60 seconds that each process gives to it; 0 ends the limit")
	f.IntVar(&n.concurrency, "concurrency", 0,
		"most attempts at once, until response headers, that each process gives to it; 0 ends the limit")
	f.StringVar(&n.clientID, "client-id", "", "OAuth client id, used from the next refresh on")
	f.StringVar(&n.scope, "scope", "", "OAuth scope, used from the next refresh on")
}

// given lists the flags that were set, as they are typed.
func (n *settings) given() []string {
	var out []string
	for _, name := range []string{"pool", "tenant", "label", "unlabel", "rpm", "concurrency", "client-id", "scope"} {
		if n.cmd.Flags().Changed(name) {
			out = append(out, "--"+name)
		}
	}
	return out
}

// check refuses labels that other commands own.
func (n *settings) check() error {
	for _, k := range append(slices.Collect(maps.Keys(n.labels)), n.unlabel...) {
		switch k {
		case copiedTo, copiedState:
			return Usagef("label %s belongs to tokenward accounts copy: use that, or accounts resume --force", k)
		case "":
			return Usagef("a label has no name: give key=value, or key= to remove it")
		}
	}
	return nil
}

// apply changes what was given.
func (n *settings) apply(r *tokenstore.Record) {
	changed := n.cmd.Flags().Changed
	if changed("rpm") {
		r.Limits.RPM = n.rpm
	}
	if changed("concurrency") {
		r.Limits.Concurrency = n.concurrency
	}
	if changed("tenant") {
		r.Tenant = n.tenant
	}
	if changed("client-id") {
		r.ClientID = n.clientID
	}
	if changed("scope") {
		r.Scope = n.scope
	}
	if changed("pool") {
		r.Pools = slices.DeleteFunc(slices.Clone(n.pools), func(p string) bool { return p == "" })
	}
	for k, v := range n.labels {
		if v == "" {
			delete(r.Labels, k)
			continue
		}
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
		r.Labels[k] = v
	}
	for _, k := range n.unlabel {
		delete(r.Labels, k)
	}
}

func (a *app) set() *cobra.Command {
	n := &settings{}
	c := &cobra.Command{
		Use:   "set ID",
		Short: "change limits, pools, labels, tenant or client id; spends nothing",
		Args:  cobra.ExactArgs(1),
		Long: "set changes what is given and nothing else. The token, the credential and all that is known of them stay: " +
			"nothing is spent, also while a\n" +
			"refresh is running. A new credential comes with accounts add.",
		Example: "  tokenward accounts set claude-1 --rpm 60 --label team=red\n" +
			"  tokenward accounts set claude-1 --label team= --tenant \"\"      # removes both",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := accountID(args[0])
			if err != nil {
				return err
			}
			if len(n.given()) == 0 {
				return Usagef("set: there is nothing to change: give e.g. --rpm 60, --pool NAME, --label key=value, --tenant NAME")
			}
			if err := n.check(); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, s *Session) error { return a.setAccount(cmd, ctx, s, id, n) })
		},
	}
	n.flags(c)
	return c
}

func (a *app) setAccount(
	cmd *cobra.Command, ctx context.Context, s *Session, id tokenstore.AccountID, n *settings,
) error {
	err := edit(ctx, s.Backend, id, func(r *tokenstore.Record) error {
		before := r.Clone()
		n.apply(r)
		if same(before, *r) {
			return errUnchanged
		}
		if r.ClientID != before.ClientID { // what another client was told is history
			if last := r.Rotation.Last; last != nil && last.Result == "failed" {
				r.Rotation.Last = nil
			}
		}
		return s.fits("setting account "+string(id), before, *r)
	})
	if errors.Is(err, errUnchanged) {
		return a.done(cmd, "account %s is as it was: it had all of this already", id)
	}
	if err != nil {
		return err
	}
	return a.done(cmd, "account %s is changed: %s; its token and its credential stay as they are", id,
		strings.Join(n.given(), " "))
}

// fits refuses an edit that makes a record unusable, or names pools that this configuration does not have. What was
// wrong before is not this edit's; pools that it does not touch may be another service's.
func (s *Session) fits(tried string, before, r tokenstore.Record) error {
	if err := check(s, r); err != nil && check(s, before) == nil {
		return Usagef("%s: %w", tried, err)
	}
	if strange := tokenstore.StrangePools(r, s.Pools); len(strange) > 0 && !slices.Equal(before.Pools, r.Pools) {
		return Usagef("%s: %s: name others, or add it under pools", tried, strings.Join(strange, ", "))
	}
	return nil
}

// same reports whether two records have the same settings.
func same(a, b tokenstore.Record) bool {
	return slices.Equal(a.Pools, b.Pools) && a.Tenant == b.Tenant && maps.Equal(a.Labels, b.Labels) &&
		a.ClientID == b.ClientID && a.Scope == b.Scope &&
		a.Limits.RPM == b.Limits.RPM &&
		a.Limits.Concurrency == b.Limits.Concurrency
}
