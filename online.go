package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/cli"
	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/provider"
)

// mostShown is how many accounts with trouble are listed one by one.
const mostShown = 20

// online is a check of everything that serve will need, told line by line.
type online struct {
	config *config.Config
	domain tokenstore.Config
	out    io.Writer
	failed []error  // the service could not work so
	human  []string // it could, and somebody has to look
}

// checkOnline opens the store and the journal, reads every account and asks every token endpoint for an answer. The
// error has the exit code of a failure, or of a need for a human.
func checkOnline(ctx context.Context, c *config.Config, out io.Writer) error {
	domain, err := domainConfig(c, nil)
	if err != nil {
		return err
	}
	lines := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	o := &online{config: c, domain: domain, out: lines}
	if err := outOfReach(c, servicePlaces(c)); err != nil {
		o.fail("files", err)
	}
	o.store(ctx)
	o.journal()
	o.endpoints(ctx)
	_ = lines.Flush()
	if len(o.failed) > 0 {
		return errors.Join(o.failed...)
	}
	if len(o.human) > 0 {
		return &cli.ExitError{
			Code: cli.ExitNeedsHuman,
			Err:  errors.New("the configuration is valid, and somebody has to look: " + strings.Join(o.human, "; ")),
		}
	}
	return nil
}

func (o *online) say(what, how string) { fmt.Fprintf(o.out, "%s\t%s\n", what, how) }

// fail tells a failure here in short; the error has it all.
func (o *online) fail(what string, err error) {
	o.say(what, "failed, see below")
	o.failed = append(o.failed, err)
}

func (o *online) store(ctx context.Context) {
	b, err := openBackend(ctx, o.config.Store, nil, tokenstore.Secret{}, zap.NewNop())
	if err != nil {
		o.fail("store", err)
		return
	}
	defer func() { _ = b.Close() }()
	heads, err := b.List(ctx)
	if err != nil {
		o.fail("store", fmt.Errorf("listing accounts: %w", err))
		return
	}
	o.say("store", storeAt(o.config.Store)+" is open")
	slices.SortFunc(heads, func(x, y tokenstore.Head) int { return strings.Compare(string(x.ID), string(y.ID)) })
	var all []stored
	for _, h := range heads {
		r, _, err := b.Load(ctx, h.ID)
		if errors.Is(err, tokenstore.ErrNotFound) {
			continue // removed meanwhile
		}
		all = append(all, o.look(h.ID, r, err))
	}
	o.accounts(all)
}

// stored is what a record says of its account.
type stored struct {
	id     tokenstore.AccountID
	record tokenstore.Record
	state  tokenstore.AccountState
	why    string
	serves bool // at once, or after a refresh
}

func (o *online) look(id tokenstore.AccountID, r tokenstore.Record, err error) stored {
	s := stored{id: id, record: r}
	switch d := o.domain.Drivers[r.Provider]; {
	case errors.Is(err, tokenstore.ErrDeleted):
		s.state, s.why = tokenstore.StatePaused, tokenstore.WhyDeleted
	case err != nil:
		s.state, s.why = tokenstore.StateConfigError, err.Error()
	default:
		s.state, s.why = tokenstore.Standing(id, r, o.domain.Drivers, o.domain.Pools)
		living := d != nil && !d.Token(r).IsZero() && (r.ExpiresAt.IsZero() || time.Now().Before(r.ExpiresAt))
		switch s.state {
		case tokenstore.StatePaused, tokenstore.StateConfigError:
		case tokenstore.StateNeedsReauth:
			s.serves = living
		default:
			s.serves = living || d != nil && d.Refreshable(r)
		}
		if s.state == tokenstore.StateActive && !s.serves {
			s.state, s.why = tokenstore.StateExpired, "its access token has ended, and there is nothing to refresh with"
		}
	}
	return s
}

func (o *online) accounts(all []stored) {
	var bad []stored
	for _, s := range all {
		if s.why != "" && s.state != tokenstore.StatePaused {
			bad = append(bad, s)
		}
	}
	switch {
	case len(all) == 0:
		o.say("accounts", "none: add one with tokenward accounts add")
		o.human = append(o.human, "there is no account")
		return
	case len(bad) == 0:
		o.say("accounts", fmt.Sprintf("%d, nothing is wrong with them", len(all)))
	default:
		o.say("accounts", fmt.Sprintf("%d, something is wrong with %d", len(all), len(bad)))
		o.human = append(o.human, fmt.Sprintf("something is wrong with %d of %d accounts", len(bad), len(all)))
	}
	for i, s := range bad {
		if i == mostShown {
			o.say("", fmt.Sprintf("and %d more: see tokenward accounts list", len(bad)-i))
			break
		}
		o.say("  "+string(s.id), fmt.Sprintf("%s: %s", s.state, s.why))
	}
	for _, r := range o.config.Routes {
		if !slices.ContainsFunc(all, func(s stored) bool { return s.serves && o.reachedBy(r, s.record) }) {
			o.say("route "+r.Name, "no account can serve it")
			o.human = append(o.human, "no account can serve route "+r.Name)
		}
	}
}

// reachedBy reports whether one of the route's upstreams takes the record's account.
func (o *online) reachedBy(r config.Route, record tokenstore.Record) bool {
	return slices.ContainsFunc(r.Upstreams, func(name string) bool {
		pool := o.domain.Upstreams[name].Pool
		return o.domain.Pools[pool].Provider == record.Provider && slices.Contains(record.Serves(), pool)
	})
}

func (o *online) journal() {
	folder := o.config.Store.JournalDir
	if folder == "" {
		o.say("journal", "switched off")
		return
	}
	if _, err := openJournal(o.config.Store); err != nil {
		o.fail("journal", err)
		return
	}
	if err := writable(folder); err != nil {
		o.fail(
			"journal",
			fmt.Errorf("writing to the journal: %w: make the folder writable, or choose another store.journal_dir", err),
		)
		return
	}
	o.say("journal", folder+" can be written")
}

func (o *online) endpoints(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(o.config.Providers)) {
		for _, r := range provider.Reach(ctx, name, settings(o.config.Providers[name], nil)) {
			what := "token endpoint of " + name
			switch {
			case r.Err != nil:
				o.fail(what, r.Err)
			case r.Status >= 500:
				o.say(what, fmt.Sprintf("%s answers %d: it may be down", r.URL, r.Status))
				o.human = append(o.human, fmt.Sprintf("the token endpoint of %s answers %d", name, r.Status))
			default:
				o.say(what, fmt.Sprintf("%s answers (%d to a question without a grant)", r.URL, r.Status))
			}
		}
	}
}
