package integration

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/provider"
)

// front stands before the simulated token endpoint, as gateways and frameworks do, and may put another answer in the
// place of the one to a grant that was processed.
type front struct {
	url string

	mu      sync.Mutex // guards what follows
	behind  string     // the token endpoint
	instead map[string]reply
	grants  map[string]int // that arrived, by account
}

// reply is an answer of the front's own. A body "" keeps the token endpoint's.
type reply struct {
	status int
	kind   string // content type; "": application/json
	body   string
	change func(body string) string // of the token endpoint's answer
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{instead: map[string]reply{}, grants: map[string]int{}}
	s := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(s.Close)
	f.url = s.URL + "/token"
	return f
}

// says scripts the answers to an account's grants; the zero reply ends it.
func (f *front) says(account string, r reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead[account] = r
}

// got is how many grants of an account arrived.
func (f *front) got(account string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grants[account]
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	kind, answer, r0 := f.redeem(r.Header.Get("Content-Type"), body)
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(r0)
	_, _ = io.WriteString(w, answer)
}

// redeem passes a grant on and returns what to answer.
func (f *front) redeem(kind string, grant []byte) (contentType, body string, status int) {
	f.mu.Lock()
	behind, account := f.behind, ""
	for name := range f.instead {
		if bytes.Contains(grant, []byte("sk-ant-ort-sim-"+name+"-")) {
			account = name
		}
	}
	f.grants[account]++
	r := f.instead[account]
	f.mu.Unlock()
	resp, err := http.Post(behind, kind, bytes.NewReader(grant))
	if err != nil {
		return "text/plain", err.Error(), http.StatusBadGateway
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	contentType, body, status = "application/json", string(b), resp.StatusCode
	if r.status != 0 {
		status, body = r.status, r.body
	}
	if r.kind != "" {
		contentType = r.kind
	}
	if r.change != nil && status == http.StatusOK {
		body = r.change(body)
	}
	return contentType, body, status
}

// fronted runs a gateway whose token endpoint is behind the front, with accounts in the first pool. edit may change the
// configuration; with the driver oauth2 the accounts are of that kind.
func fronted(
	t *testing.T, f *front, change func(o *Options), edit func(yaml string) string, accounts ...string,
) *Gateway {
	t.Helper()
	o := Options{
		Binary: tool(t, "TOKENWARD", "../bin/tokenward", "make build"),
		Envoy:  tool(t, "ENVOY", "../.tools/envoy/bin/envoy", "make tools"),
		Folder: t.TempDir(),
	}
	if change != nil {
		change(&o)
	}
	g, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	f.behind = g.Provider.URL() + "/v1/oauth/token"
	yaml := strings.Replace(string(g.yaml(t)), f.behind, f.url, 1)
	if edit != nil {
		yaml = edit(yaml)
	}
	if err := os.WriteFile(g.config(), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if t.Failed() {
			t.Log(g.Log)
		}
		for _, secret := range []string{"sk-ant-oat-sim", "sk-ant-ort-sim"} {
			if strings.Contains(g.Log.String(), secret) {
				t.Error("a secret is in the logs")
			}
		}
	})
	for _, name := range accounts {
		f.says(name, reply{})
		c := g.Provider.Create(name, time.Hour)
		if strings.Contains(yaml, "driver: oauth2") {
			err = g.addPlain(name, c)
		} else {
			err = g.AddCredential(name, "claude", c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

// addPlain puts an account of type oauth_refresh into the store, whose token's end nobody knows.
func (g *Gateway) addPlain(name string, c provider.Credential) error {
	access := filepath.Join(g.Opts.Folder, name+".access")
	if err := os.WriteFile(access, []byte(c.AccessToken), 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(access) }()
	_, err := g.CLI(c.RefreshToken, "accounts", "add", name, "--provider", "sim", "--type", "oauth_refresh", "--pool",
		"claude", "--client-id", c.ClientID, "--refresh-token-file", "-", "--access-token-file", access)
	return err
}

// plain makes the gateway's provider an ordinary OAuth 2 server.
func plain(yaml string) string {
	return strings.Replace(yaml, "driver: anthropic", "driver: oauth2", 1)
}

// text is a key of what the admin API shows of an account.
func (g *Gateway) text(t *testing.T, account, key string) string {
	t.Helper()
	s, _ := g.account(t, account)[key].(string)
	return s
}

// restart ends the service and starts it anew; Envoy too.
func (g *Gateway) restart(t *testing.T) {
	t.Helper()
	if err := g.Service().Process.Signal(terminate); err != nil {
		t.Fatal(err)
	}
	if err := g.Service().Wait(); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
}
