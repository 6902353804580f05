package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// statusAnswer is the part of the admin API's answer that the table shows.
type statusAnswer struct {
	Accounts []struct {
		ID          string    `json:"accountId"`
		Provider    string    `json:"provider"`
		Pools       []string  `json:"pools"`
		State       string    `json:"state"`
		Routable    bool      `json:"routable"`
		Reason      string    `json:"reason"`
		ExpiresAt   time.Time `json:"expiresAt"`
		NextRefresh time.Time `json:"nextRefreshAt"`
		Requests    uint64    `json:"requests"`
		Failovers   uint64    `json:"failovers"`
	} `json:"accounts"`
}

func (a *app) status() *cobra.Command {
	var watch, ready bool
	c := &cobra.Command{Use: "status", Short: "what the running service knows of its accounts", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return a.withService(cmd, func(ctx context.Context, s *Session) error {
			for {
				raw, err := ask(ctx, s)
				if err != nil {
					return err
				}
				if watch && a.output == "text" {
					fmt.Fprint(cmd.OutOrStdout(), "\033[H\033[2J")
				}
				if err := a.printStatus(cmd.OutOrStdout(), raw); err != nil {
					return err
				}
				if err := a.sayReady(ctx, cmd, s, ready); err != nil {
					return err
				}
				if !watch {
					return nil
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(2 * time.Second):
				}
			}
		})
	}}
	c.Flags().BoolVar(&watch, "watch", false, "again every two seconds, until Ctrl-C")
	c.Flags().BoolVar(&ready, "ready", false, "fail while the service is not ready to serve: for health checks")
	return c
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
		return nil, refusedf("asking the service at %s: it refused the token in %s: is another service running there?", s.AdminURL, s.AdminTokenFile)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("asking the service at %s: it answered %s", s.AdminURL, resp.Status)
	}
	return body, nil
}

// sayReady says what keeps the service from serving, or will: a table that lacks accounts must not look whole. With must the
// service has to be ready.
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
		fmt.Fprintf(cmd.ErrOrStderr(), "the service is not ready: %s: wait, and look into its log\n", reasons)
	case err == nil && reasons != "":
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", reasons)
	}
	return nil
}

// askReady asks as an orchestrator would.
func askReady(ctx context.Context, s *Session) (ready bool, reasons string, err error) {
	resp, err := call(ctx, s, "/readyz", "")
	if err != nil {
		return false, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var why struct {
		Reasons []string `json:"reasons"`
	}
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
		return nil, fmt.Errorf("asking the service at %s: it does not answer: start it with tokenward serve or tokenward run; tokenward accounts list works without it", s.AdminURL)
	}
	return resp, nil
}

func adminClient(caFile string) (*http.Client, error) {
	c := &http.Client{Timeout: 10 * time.Second}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the service's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("reading the service's certificate: " + caFile + " holds none")
	}
	c.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return c, nil
}

func (a *app) printStatus(out io.Writer, raw json.RawMessage) error {
	var ans statusAnswer
	if err := json.Unmarshal(raw, &ans); err != nil {
		return fmt.Errorf("asking the service: its answer cannot be read: %w", err)
	}
	colour := isTerminal(out)
	return a.print(out, raw, func(w io.Writer) {
		fmt.Fprintln(w, "ACCOUNT\tPROVIDER\tPOOLS\tSTATE\tSERVES\tTOKEN ENDS\tNEXT RENEWAL\tATTEMPTS\tMOVED\tWHY")
		for _, x := range ans.Accounts {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", x.ID, x.Provider, dash(strings.Join(x.Pools, ",")), paint(x.State, colour), yes(x.Routable),
				when(x.ExpiresAt), when(x.NextRefresh), x.Requests, x.Failovers, dash(x.Reason))
		}
	})
}

// paint colours a state. Every state gets a code of the same length, so that the table's columns stay aligned.
func paint(state string, colour bool) string {
	if !colour {
		return state
	}
	code := "31"
	switch state {
	case "active":
		code = "32"
	case "expiring", "cooling", "paused":
		code = "33"
	}
	return "\033[" + code + "m" + state + "\033[0m"
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
