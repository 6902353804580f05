package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tlsfile"
)

// watchEvery is how often status --watch looks; tests are less patient.
var watchEvery = 2 * time.Second

func (a *app) status() *cobra.Command {
	var watch, ready, problems bool
	c := &cobra.Command{
		Use: "status", Short: "what the running service knows of its accounts: those with problems first", Args: cobra.NoArgs,
		Long: "status shows the accounts of the running service, those that need attention first, with what to do about\n" +
			"each, and counts them.\n\n" +
			"With --problems it shows those that need attention only, and ends with exit code 4 when something is red:\n" +
			"when a human has to give a new credential (needs_reauth), mend a record (config_error) or settings (the token\n" +
			"endpoint refuses our client), when nothing can renew an account, or no account of a pool can serve.\n" +
			"Not red: cooling, ambiguous, at its limit, a renewal that is tried again, paused.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withService(cmd, func(ctx context.Context, s *Session) error {
				if watch {
					return a.watch(ctx, cmd, s, ready, problems)
				}
				o, err := a.look(ctx, cmd, s, ready, problems)
				if err != nil || !problems {
					return err
				}
				return o.verdict()
			})
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "again every two seconds, until Ctrl-C")
	c.Flags().BoolVar(&ready, "ready", false, "fail while the service is not ready to serve: for health checks")
	c.Flags().BoolVar(&problems, "problems", false,
		"only accounts that need attention; exit code 4 when one needs a human, or a pool cannot serve")
	return c
}

// look asks the service and prints what it says.
func (a *app) look(ctx context.Context, cmd *cobra.Command, s *Session, ready, problems bool) (*overview, error) {
	raw, err := ask(ctx, s)
	if err != nil {
		return nil, err
	}
	o, err := readOverview(raw)
	if err != nil {
		return nil, err
	}
	if problems {
		raw = o.keepProblems()
	}
	if err := a.printStatus(cmd.OutOrStdout(), raw, o); err != nil {
		return nil, err
	}
	return o, a.sayReady(ctx, cmd, s, ready)
}

// watch looks again and again until the context ends. Once it has seen the service, it waits for it to come back.
func (a *app) watch(ctx context.Context, cmd *cobra.Command, s *Session, ready, problems bool) error {
	for first := true; ; first = false {
		if a.output == "text" && isTerminal(cmd.OutOrStdout()) {
			fmt.Fprint(cmd.OutOrStdout(), "\033[H\033[2J")
		}
		_, err := a.look(ctx, cmd, s, ready, problems)
		if err != nil && first && ctx.Err() == nil {
			return err
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(cmd.ErrOrStderr(), Clean(err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// ask gets the statuses from the service.
func ask(ctx context.Context, s *Session) (json.RawMessage, error) {
	token, err := os.ReadFile(s.AdminTokenFile)
	if err != nil {
		return nil, fmt.Errorf("asking the service: %w: is it running with this configuration?", err)
	}
	resp, err := call(ctx, s, "/api/admin/oauth/refresh", strings.TrimSpace(string(token)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking the service: %w", err)
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, refusedf("asking the service at %s: it refused the token in %s: is another service running there?",
			s.AdminURL, s.AdminTokenFile)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("asking the service at %s: it answered %s", s.AdminURL, resp.Status)
	}
	return body, nil
}

// sayReady says what keeps the service from serving, or will: a table that lacks accounts must not look whole. With
// must the service has to be ready.
func (a *app) sayReady(ctx context.Context, cmd *cobra.Command, s *Session, must bool) error {
	if !must && a.output != "text" {
		return nil
	}
	ready, reasons, err := askReady(ctx, s)
	switch {
	case must && err != nil:
		return err
	case must && !ready:
		return fmt.Errorf("asking the service whether it is ready: it is not: %s: wait, and look into its log", reasons)
	case err == nil && !ready:
		fmt.Fprintf(cmd.ErrOrStderr(), "the service is not ready: %s: wait, and look into its log\n", Clean(reasons))
	case err == nil && reasons != "":
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", Clean(reasons))
	}
	return nil
}

// askReady asks as an orchestrator would.
func askReady(ctx context.Context, s *Session) (ready bool, reasons string, err error) {
	token, _ := os.ReadFile(s.AdminTokenFile) // without it, an address that others reach gives no reasons
	resp, err := call(ctx, s, "/readyz", strings.TrimSpace(string(token)))
	if err != nil {
		return false, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var why api.Readiness
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&why); err != nil {
		return false, "", fmt.Errorf("asking the service whether it is ready: its answer cannot be read: %w", err)
	}
	return resp.StatusCode == http.StatusOK, strings.Join(why.Reasons, "; "), nil
}

// call sends a GET to the service.
func call(ctx context.Context, s *Session, path, token string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.AdminURL+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client, err := adminClient(s.AdminCAFile)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf(
			"asking the service at %s: it does not answer: start it with tokenward serve or tokenward run; tokenward accounts "+
				"list works without it",
			s.AdminURL,
		)
	}
	return resp, nil
}

func adminClient(caFile string) (*http.Client, error) {
	c := &http.Client{Timeout: 10 * time.Second}
	if caFile == "" {
		return c, nil
	}
	roots, err := (*tlsfile.Files)(nil).Roots("admin.tls.cert_file", caFile)
	if err != nil {
		return nil, fmt.Errorf("asking the service: %w", err)
	}
	c.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots.Get(), MinVersion: tls.VersionTLS12}}
	return c, nil
}
