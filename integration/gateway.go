// Package integration runs the real binary behind the real Envoy against the simulated provider. The harness also plays
// the tour of `make run`.
package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tokenward/tokenward/integration/port"
	"github.com/tokenward/tokenward/integration/provider"
)

// Options shape a gateway.
type Options struct {
	Binary     string   // bin/tokenward
	Env        []string // further variables for it
	Envoy      string
	Folder     string
	HTTP2      bool   // towards the provider
	Prefix     string // of the route; "": /
	Route      string // further lines of the route, indented by four
	Headers    string // of the provider's entry, as flow YAML
	Renewal    string // renewal section, indented by two
	Dead       bool   // the first upstream's address refuses connections
	First      string // URL of the first upstream; "": the provider
	Limit      string // envoy.retry_body_limit
	EnvoyAdmin string // address; "" picks a port
	EnvoyKeys  string // further keys of the envoy section, as ", key: value"
	Gateway    string // listen addresses; "" picks free ports
	Admin      string
	Serve      bool // run `serve` and Envoy apart, so that the service can be killed alone
	Files      int  // that the service may open; 0: as many as this process
	Provider   string
	Share      *provider.Provider // an existing provider, for replicas
	Store      string             // store section, as flow YAML; "": SQLite
	// Put writes an account's record into the store; nil: tokenward accounts add does.
	Put     func(name string, record map[string]any) error
	LogFile io.Writer // also gets what the processes say; optional
}

// Gateway is a running tokenward with its Envoy and its provider.
type Gateway struct {
	Opts     Options
	Provider *provider.Provider
	URL      string
	AdminURL string
	Token    string
	Log      *Output

	service  *exec.Cmd
	envoy    *exec.Cmd
	accounts int // added so far
}

// Output gathers what the processes say.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Tool returns the absolute path of a program that tests run: what the environment variable names, else path. remedy is
// the command that makes it.
func Tool(variable, path, remedy string) (string, error) {
	if p := os.Getenv(variable); p != "" {
		path = p
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if err != nil {
		return "", fmt.Errorf("%w: run %s, or set %s", err, remedy, variable)
	}
	return abs, nil
}

// Prepare starts the provider and writes the configuration.
func Prepare(o Options) (*Gateway, error) {
	if o.Provider == "" {
		o.Provider = "127.0.0.1:0"
	}
	p := o.Share
	if p == nil {
		var err error
		if p, err = provider.Start(o.Provider); err != nil {
			return nil, err
		}
	}
	if o.Gateway == "" {
		o.Gateway, o.Admin = port.Address(), port.Address()
	}
	if o.Limit == "" {
		o.Limit = "32MiB"
	}
	protocol, first := "http1", p.URL()
	if o.HTTP2 {
		protocol = "http2"
	}
	if o.First != "" {
		first = o.First
	}
	if o.EnvoyAdmin == "" {
		o.EnvoyAdmin = port.Address()
	}
	if o.Dead {
		first = "http://" + port.Address()
	}
	yaml := fmt.Sprintf(`envoy: { listen: %q, admin: %q, retry_body_limit: %s%s }
admin: { listen: %q }
providers:
  sim: { driver: anthropic, token_url: %q, headers: %s }
pools:
  claude: { provider: sim }
  backup: { provider: sim }
upstreams:
  claude: { url: %q, protocol: %s }
  backup: { url: %q, protocol: %s }
renewal:
  token_endpoint_timeout: 5s
  claim_lease: 6s
%s
store: %s
routes:
  messages:
    match: { prefix: %s }
    upstreams: [claude, backup]
    reveal_attempts: true
%s
`, o.Gateway, o.EnvoyAdmin, o.Limit, o.EnvoyKeys, o.Admin, p.URL()+"/v1/oauth/token",
		cmp.Or(o.Headers, "{}"), first, protocol, p.URL(), protocol, o.Renewal, o.Store, cmp.Or(o.Prefix, "/"), o.Route)
	g := &Gateway{Opts: o, Provider: p, URL: "http://" + o.Gateway, AdminURL: "http://" + o.Admin, Log: &Output{}}
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, err
	}
	return g, os.WriteFile(g.config(), []byte(yaml), 0o600)
}

func (g *Gateway) config() string { return filepath.Join(g.Opts.Folder, "tokenward.yaml") }

// CLI runs a command of the binary with the gateway's configuration.
func (g *Gateway) CLI(stdin string, args ...string) (string, error) {
	cmd := exec.Command(g.Opts.Binary, append(args, "-c", g.config())...)
	cmd.Env = append(os.Environ(), g.Opts.Env...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tokenward %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// Add creates an account at the provider and in the store.
func (g *Gateway) Add(name, pool string, lifetime time.Duration) error {
	return g.AddCredential(name, pool, g.Provider.Create(name, lifetime))
}

// AddCredential puts a credential into the store.
func (g *Gateway) AddCredential(name, pool string, c provider.Credential) error {
	g.accounts++
	if g.Opts.Put != nil {
		return g.Opts.Put(name, map[string]any{
			"provider":      "sim",
			"type":          "ANTHROPIC_OAUTH",
			"pools":         pool,
			"client_id":     c.ClientID,
			"refresh_token": c.RefreshToken,
			"access_token":  c.AccessToken,
			"expires_at":    c.ExpiresAt.Format(time.RFC3339),
			"obtained_at":   time.Now().UTC().Format(time.RFC3339),
		})
	}
	access := filepath.Join(g.Opts.Folder, name+".access")
	if err := os.WriteFile(access, []byte(c.AccessToken), 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(access) }()
	_, err := g.CLI(c.RefreshToken, "accounts", "add", name, "--provider", "sim", "--type", "ANTHROPIC_OAUTH", "--pool",
		pool, "--client-id", c.ClientID, "--refresh-token-file", "-", "--access-token-file", access, "--expires-at",
		c.ExpiresAt.Format(time.RFC3339))
	return err
}

// Start runs the service and Envoy, and waits until both are ready.
func (g *Gateway) Start() error {
	if !g.Opts.Serve {
		g.service = g.command(g.Opts.Binary, "run", "--envoy", g.Opts.Envoy, "-c", g.config())
		if err := g.service.Start(); err != nil {
			return err
		}
		return g.ready()
	}
	boot := filepath.Join(g.Opts.Folder, "envoy.yaml")
	if _, err := g.CLI("", "envoy", "-o", boot); err != nil {
		return err
	}
	if err := g.StartService(); err != nil {
		return err
	}
	g.envoy = g.command(g.Opts.Envoy, "-c", boot, "--disable-hot-restart", "--log-level", "warning")
	return errors.Join(g.envoy.Start(), g.ready())
}

// StartService runs the service alone; a running one keeps running.
func (g *Gateway) StartService() error {
	g.service = g.command(g.Opts.Binary, "serve", "-c", g.config())
	return g.service.Start()
}

// Service is the service's process.
func (g *Gateway) Service() *exec.Cmd { return g.service }

func (g *Gateway) command(name string, args ...string) *exec.Cmd {
	if n := g.Opts.Files; n > 0 {
		name, args = "sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, n), name}, args...)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), g.Opts.Env...)
	var out io.Writer = g.Log
	if g.Opts.LogFile != nil {
		out = io.MultiWriter(g.Log, g.Opts.LogFile)
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// ready waits for the service and for Envoy's listener.
func (g *Gateway) ready() error {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if resp, err := http.Get(g.AdminURL + "/readyz"); err == nil {
			_ = resp.Body.Close()
			answers := resp.StatusCode == http.StatusOK || g.accounts == 0 // without an account it is not ready, and says so
			if c, err := net.Dial("tcp", g.Opts.Gateway); err == nil && answers {
				_ = c.Close()
				token, err := os.ReadFile(filepath.Join(g.Opts.Folder, "data", "admin.token"))
				g.Token = strings.TrimSpace(string(token))
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the gateway was not ready in time:\n%s", g.Log)
}

// Stop ends everything, gracefully.
func (g *Gateway) Stop() error {
	var errs []error
	for _, c := range []*exec.Cmd{g.envoy, g.service} {
		if c != nil && c.Process != nil && c.ProcessState == nil {
			_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
			errs = append(errs, c.Wait())
		}
	}
	if g.Opts.Share == nil {
		_ = g.Provider.Close()
	}
	return errors.Join(errs...)
}

// Answer is what a client got.
type Answer struct {
	Status  int
	Header  http.Header
	Body    string
	Account string // that served, as the provider saw it
	Took    time.Duration
}

// Post sends a request through the gateway.
func (g *Gateway) Post(ctx context.Context, test, sim string, body io.Reader) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+"/v1/messages", body)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("x-test-id", test)
	req.Header.Set("x-sim", sim)
	req.Header.Set("Authorization", "Bearer the-clients-own")
	req.Header.Set("x-api-key", "the-clients-own")
	return Do(http.DefaultClient, req)
}

// Do sends a request and reads the whole answer.
func Do(c *http.Client, req *http.Request) (Answer, error) {
	started := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(b), Took: time.Since(started)}
	var m struct {
		Account string `json:"account"`
	}
	if json.Unmarshal(b, &m) == nil {
		a.Account = m.Account
	} else if _, data, ok := strings.Cut(a.Body, "data: "); ok {
		_ = json.NewDecoder(strings.NewReader(data)).Decode(&m) // stays "" if it is no event of the provider's
		a.Account = m.Account
	}
	return a, err
}
