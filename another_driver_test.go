package main

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/provider"
)

// acme is a driver that the product does not have.
var acme = provider.Spec{
	Name: "acme", DefaultURL: "https://api.acme.example",
	Kinds: []provider.Kind{{
		Name: "ACME_LOGIN", Needs: []string{"client_id", "refresh_token"}, Grant: "refresh_token",
		TokenURL: "https://login.acme.example/token",
	}},
	Shows: []string{"acme-plan", "acme-limit-*"}, Owns: []string{"acme-plan"}, Asks: []string{"acme-version: 2"},
	Credentials: provider.Credentials{
		Headers: []string{"acme-card"}, QueryKeys: []string{"acme-ticket"}, Protocols: []string{"acme-key."},
		Payers: []string{"acme-payer"}, Organisations: []string{"acme-org"},
	},
	Needs: func(s provider.Settings) *provider.SettingError {
		if s.AuthStyle == "none" {
			return &provider.SettingError{Key: "auth_style", Rule: "must show the client to acme"}
		}
		return nil
	},
	New: func(s provider.Settings) (tokenstore.Driver, error) {
		s.Driver = "anthropic" // what it does besides
		d, err := provider.New("acme", s)
		return acmeDriver{d}, err
	},
}

type acmeDriver struct{ tokenstore.Driver }

func (acmeDriver) Check(r tokenstore.Record) error {
	if r.Kind != "ACME_LOGIN" || r.ClientID == "" {
		return &tokenstore.RecordError{Key: "client_id", Rule: "must be given for ACME_LOGIN"}
	}
	return nil
}

func (acmeDriver) Classify(resp tokenstore.Response) tokenstore.Verdict {
	if resp.Status == http.StatusTeapot {
		return tokenstore.Verdict{Class: tokenstore.ClassOverloaded, Scope: tokenstore.ScopeProvider}
	}
	return tokenstore.Verdict{Class: tokenstore.ClassOK, Scope: tokenstore.ScopeRequest}
}

// withAcme adds the driver for the time of a test, in a folder whose configuration names it nowhere but as an upstream.
func withAcme(t *testing.T) *config.Config {
	t.Helper()
	before := provider.Specs
	provider.Specs = append(slices.Clone(before), acme)
	t.Cleanup(func() { provider.Specs = before })
	t.Chdir(t.TempDir())
	write(t, defaultFile, "routes: { messages: { match: { prefix: /v1/ }, upstreams: [acme] } }\n")
	c, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command runs a command line; out is what it printed.
func command(t *testing.T, line string) (out string, err error) {
	t.Helper()
	c, text := root(), &strings.Builder{}
	c.SetArgs(strings.Fields(line))
	c.SetOut(text)
	err = c.ExecuteContext(t.Context())
	return text.String(), err
}

func TestTheConfigurationKnowsADriverByItsSpec(t *testing.T) {
	c := withAcme(t)
	if u := c.Upstreams["acme"]; u.URL != acme.DefaultURL {
		t.Errorf("the upstream leads to %q", u.URL)
	}
	if _, err := provider.New("p", provider.Settings{Driver: "acme", AuthStyle: "none"}); err == nil {
		t.Error("a driver is made without what it needs")
	}
	const routes = "routes: { messages: { match: { prefix: /v1/ }, upstreams: [acme] } }\n"
	for text, want := range map[string]string{
		"providers: { acme: { headers: { Acme-Plan: x } } }\n": "providers.acme.headers.Acme-Plan: is set by the driver acme",
		"providers: { acme: { auth_style: none } }\n":          "providers.acme.auth_style: must show the client to acme",
		"providers: { mine: { driver: acne } }\n":              `"acne": is no driver; did you mean acme?`,
	} {
		write(t, "bad.yaml", text+routes)
		if _, err := loadConfig("bad.yaml"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestAccountsAddKnowsADriverByItsSpec(t *testing.T) {
	withAcme(t)
	write(t, "token.txt", "rt-1")
	const add = "accounts add a-1 --provider acme --type ACME_LOGIN --refresh-token-file token.txt"
	if _, err := command(t, add); err == nil || !strings.Contains(err.Error(), "client_id") {
		t.Errorf("without what its kind needs: %v", err)
	}
	if _, err := command(t, add+" --client-id c-1"); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "accounts list")
	if err != nil || !strings.Contains(out, "a-1") || strings.Contains(out, "config_error") {
		t.Errorf("it is not there: %v\n%s", err, out)
	}
	if help, err := command(t, "accounts add --help"); err != nil || !strings.Contains(help, "ACME_LOGIN") {
		t.Errorf("the help does not name its kind: %v\n%s", err, help)
	}
}

func TestEnvoyAndTheEdgeKnowADriverByItsSpec(t *testing.T) {
	c := withAcme(t)
	boot, err := bootstrap(c, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- exact: acme-plan\n", "- prefix: acme-limit-\n", // shown
		"- acme-card\n", "- acme-payer\n", // removed from requests
		"- remove: acme-org\n", "- remove: acme-payer\n", // removed from answers
	} {
		if !strings.Contains(string(boot), want) {
			t.Errorf("Envoy's configuration has no %q", want)
		}
	}
	edge := extprocConfig(c)
	for _, key := range []string{"acme-ticket", "acme-card", "acme-payer"} {
		if !slices.Contains(edge.CredentialQueryKeys, key) {
			t.Errorf("?%s= goes through", key)
		}
	}
	if !slices.Contains(edge.CredentialProtocols, "acme-key.") {
		t.Error("its WebSocket subprotocol goes through")
	}
	if try := tryLine(c, "http://gateway"); !strings.Contains(try, "-H 'acme-version: 2'") {
		t.Errorf("who tries it sends %s", try)
	}
}

func TestAnswersAreJudgedByTheDriverOfTheSpec(t *testing.T) {
	d, err := domainConfig(withAcme(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	teapot := tokenstore.Response{Status: http.StatusTeapot, Header: http.Header{}}
	if v := d.Drivers["acme"].Classify(teapot); v.Class != tokenstore.ClassOverloaded {
		t.Errorf("got %s", v.Class)
	}
}
