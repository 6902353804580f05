package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

// refreshers is how many accounts are refreshed at once.
const refreshers = 8

// refreshing is what `refresh` was told.
type refreshing struct{ force, all, yes bool }

func (a *app) refresh() *cobra.Command {
	var n refreshing
	c := &cobra.Command{
		Use:   "refresh [ID...]",
		Short: "get new access tokens where they are due",
		Long: "refresh gets a new access token for an account whose token has ended, is refused or due. A healthy account " +
			"is left alone, and so is one whose\n" +
			"refresh token may be spent: the service tries that again by itself when it costs least.\n\n" +
			"--force asks the token endpoint all the same. It spends a refresh token, and can cost the account: the risk is " +
			"told first. Where a living access\n" +
			"token is at stake it is asked for at the terminal; scripts give --yes. With --all such accounts are never forced.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if n.all == (len(args) > 0) {
				return Usagef("refresh: name accounts, or give --all")
			}
			if n.yes && !n.force {
				return Usagef("refresh --yes: it confirms --force, which is missing")
			}
			return a.with(cmd, func(ctx context.Context, s *Session) error { return a.refreshAccounts(cmd, ctx, s, args, n) })
		},
	}
	c.Flags().BoolVar(&n.force, "force", false,
		"also tokens that live and accounts that need a new login; may cost the account")
	c.Flags().BoolVar(&n.yes, "yes", false, "with --force: do not ask, also where a living access token is at stake")
	c.Flags().BoolVar(&n.all, "all", false, "every account")
	return c
}

// refreshAccounts runs the same protocol as the service does; the claims in the records keep the two apart.
func (a *app) refreshAccounts(cmd *cobra.Command, ctx context.Context, s *Session, names []string, n refreshing) error {
	store, err := s.Domain()
	if err != nil {
		return err
	}
	if err := store.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = store.Stop(context.WithoutCancel(ctx)) }()
	jobs, errs := jobsOf(cmd, store, names, n)
	var g errgroup.Group
	g.SetLimit(refreshers)
	for i := range jobs {
		g.Go(func() error {
			jobs[i].run(cmd, ctx, store, n.all)
			return nil
		})
	}
	_ = g.Wait()
	var results []tokenstore.RefreshResult
	failed := 0
	for _, j := range jobs {
		switch {
		case j.err != nil:
			errs = append(errs, j.err)
			continue
		case j.result.Outcome == tokenstore.Failed:
			failed++
			if a.output != "json" { // there the result says it
				errs = append(errs, fmt.Errorf("refreshing account %s: %s", j.id, j.result.Error))
			}
		case j.result.Outcome == tokenstore.Skipped && !n.all:
			errs = append(errs, refusedf("refreshing account %s: nothing was done: %s", j.id, j.result.Error))
		}
		results = append(results, j.result)
	}
	if a.output == "json" && failed > 0 {
		errs = append(errs, fmt.Errorf("refreshing: %d of %d accounts failed", failed, len(jobs)))
	}
	return errors.Join(append([]error{a.sayResults(cmd, results, n)}, errs...)...)
}

func (a *app) sayResults(cmd *cobra.Command, results []tokenstore.RefreshResult, n refreshing) error {
	return a.print(cmd.OutOrStdout(), resultsOf(results), func(w io.Writer) {
		if len(results) == 0 && n.all {
			fmt.Fprintln(w, "there are no accounts: nothing was refreshed")
		}
		for _, r := range results {
			note := ""
			switch {
			case r.Outcome == tokenstore.Fresh:
				note = "nothing to do"
			case r.Outcome == tokenstore.Skipped && n.all: // one that was named is an error
				note = r.Error
			}
			row(w, r.ID, r.Outcome, fmt.Sprintf("generation %d", r.GenerationAfter), "token ends "+when(r.ExpiresAt), note)
		}
	})
}

// job is the refresh of one account.
type job struct {
	id     tokenstore.AccountID
	force  bool
	result tokenstore.RefreshResult
	err    error
}

// jobsOf says who is to be refreshed, and of those to be forced what it may cost. What is not agreed to is an error.
func jobsOf(cmd *cobra.Command, store *tokenstore.Store, names []string, n refreshing) (jobs []*job, errs []error) {
	statuses := map[tokenstore.AccountID]tokenstore.AccountStatus{}
	all := len(names) == 0
	for _, st := range store.Statuses() {
		if statuses[st.ID] = st; all {
			names = append(names, string(st.ID))
		}
	}
	for _, name := range names {
		st, known := statuses[tokenstore.AccountID(name)]
		risk, grave := st.ForceRisk(time.Now())
		j := &job{id: tokenstore.AccountID(name), force: n.force && (!grave || !all)}
		if known && j.force && !all && risk != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: forcing account %s: %s\n", name, risk)
		}
		if known && j.force && grave && !n.yes && !agreed(cmd, "Force it all the same? [y/N] ") {
			errs = append(
				errs,
				refusedf(
					"refreshing account %s: not forced: %s: leave it to the service, which tries again by itself, or give --force "+
						"--yes",
					name, risk,
				),
			)
			continue
		}
		jobs = append(jobs, j)
	}
	return jobs, errs
}

// agreed asks at the terminal; without one the answer is no.
func agreed(cmd *cobra.Command, question string) bool {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false
	}
	fmt.Fprint(cmd.ErrOrStderr(), question)
	line, _ := bufio.NewReader(in).ReadString('\n')
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}

// patience is how long a refresh may take before people are told why.
const patience = 3 * time.Second

func (j *job) run(cmd *cobra.Command, ctx context.Context, store *tokenstore.Store, all bool) {
	slow := time.AfterFunc(patience, func() {
		fmt.Fprintf(cmd.ErrOrStderr(),
			"note: account %s: still waiting: the token endpoint is slow, or another process is refreshing the account and "+
				"has not finished\n",
			j.id)
	})
	defer slow.Stop()
	r, err := store.RefreshAccount(ctx, j.id, j.force)
	switch {
	case errors.Is(err, tokenstore.ErrUnknownAccount):
		j.err = notFound(j.id)
	case all && errors.Is(err, tokenstore.ErrPaused):
		r = tokenstore.RefreshResult{ID: j.id, Outcome: tokenstore.Skipped, Error: err.Error()}
	case err != nil:
		j.err = fmt.Errorf("refreshing account %s: %w", j.id, err)
	}
	j.result = r
}

// resultsOf are results as the admin API tells them.
func resultsOf(rs []tokenstore.RefreshResult) []api.Result {
	out := make([]api.Result, len(rs))
	for i, r := range rs {
		out[i] = api.Result{
			ID: string(r.ID), Result: string(r.Outcome), GenerationBefore: uint64(r.GenerationBefore),
			GenerationAfter: uint64(r.GenerationAfter), ExpiresAt: api.Time(r.ExpiresAt), Class: string(r.Class),
			UpstreamStatus: r.Status, Retryable: r.Retryable, Error: r.Error, DurationMs: r.Duration.Milliseconds(),
		}
	}
	return out
}
