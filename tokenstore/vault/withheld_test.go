package vault_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// deny writes a policy that allows everything in the fixture's mount, save reading the given accounts, and returns its
// name.
func (f fixture) deny(t *testing.T, accounts ...tokenstore.AccountID) string {
	t.Helper()
	name := "some-" + f.cfg.Mount
	rules := fmt.Sprintf("path \"%s/*\" { capabilities = [\"create\", \"read\", \"update\", \"list\"] }\n", f.cfg.Mount)
	for _, id := range accounts {
		rules += fmt.Sprintf("path %q { capabilities = [\"deny\"] }\npath %q { capabilities = [\"deny\"] }\n", f.path("metadata", id), f.path("data", id))
	}
	must(t, f.Root.Sys().PutPolicyWithContext(t.Context(), name, rules))
	return name
}

// restrict makes the fixture log in with a token of that policy.
func (f *fixture) restrict(t *testing.T, policy string) {
	t.Helper()
	f.cfg.Auth.TokenFile = prepare(t, f.Server, policy).cfg.Auth.TokenFile
}

func wantHeads(t *testing.T, b tokenstore.Backend, want string) {
	t.Helper()
	if heads, err := b.List(t.Context()); err != nil || ids(heads) != want {
		t.Errorf("listed %q, %v; want %q", ids(heads), err, want)
	}
}

func TestAnAccountThatThePolicyDeniesStopsNoOther(t *testing.T) {
	f := prepare(t, server(t))
	root, _ := open(t, f.cfg)
	v := put(t, root, "good", "rt", 0)
	put(t, root, "bad", "rt", 0)
	f.restrict(t, f.deny(t, "bad"))
	b, log := open(t, f.cfg)
	wantHeads(t, b, "bad@0 good@1")
	_, _, err := b.Load(t.Context(), "bad")
	wantWords(t, err, "reading account bad from Vault", `lacks "read"`, "deploy/vault")
	if !errors.Is(err, tokenstore.ErrWithheld) {
		t.Errorf("not withheld: %v", err)
	}
	reports := watch(t, b)
	put(t, root, "good", "rt-2", v)
	wantReport(t, reports, "good", "a change beside an account that is denied")
	eventually(t, "the log names the account", func() error {
		if !strings.Contains(log.text(), `"accounts":["bad"]`) {
			return errors.New(log.text())
		}
		return nil
	})
	f.deny(t)
	wantReport(t, reports, "bad", "that it can be seen")
	wantToken(t, b, "bad", "rt")
}

func TestAnAccountThatIsDeniedLaterIsNotReportedAsDeletedAndItsChangesAreSeenAfterwards(t *testing.T) {
	f := prepare(t, server(t))
	root, _ := open(t, f.cfg)
	put(t, root, "good", "rt", 0)
	v := put(t, root, "bad", "rt", 0)
	f.restrict(t, f.deny(t))
	b, log := open(t, f.cfg)
	wantHeads(t, b, "bad@1 good@1")
	reports := watch(t, b)
	f.deny(t, "bad")
	eventually(t, "the poll met the denial", func() error {
		if !strings.Contains(log.text(), `"accounts":["bad"]`) {
			return errors.New(log.text())
		}
		return nil
	})
	if len(reports) != 0 {
		t.Errorf("%s was reported", <-reports)
	}
	put(t, root, "bad", "rt-2", v)
	f.deny(t)
	wantReport(t, reports, "bad", "what changed while it was denied")
	wantToken(t, b, "bad", "rt-2")
}

func TestAPolicyThatDeniesEveryAccountFailsTheListing(t *testing.T) {
	f := prepare(t, server(t))
	root, _ := open(t, f.cfg)
	put(t, root, "a", "rt", 0)
	put(t, root, "b", "rt", 0)
	f.restrict(t, f.deny(t, "a", "b"))
	b, _ := open(t, f.cfg)
	_, err := b.List(t.Context())
	wantWords(t, err, "looking at account", `lacks "read"`)
	if errors.Is(err, tokenstore.ErrWithheld) {
		t.Errorf("withheld: %v", err)
	}
}

// A broken entry is answered with 500, as if Vault were: only its neighbours tell.
func TestABrokenEntryStopsNoOtherAndABrokenVaultFailsTheListing(t *testing.T) {
	f := prepare(t, server(t))
	target, err := url.Parse(f.Address)
	must(t, err)
	var status atomic.Int64
	var suffix atomic.Value
	vault := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := int(status.Load()); s != 0 && r.URL.Query().Get("list") == "" &&
			strings.HasSuffix(r.URL.Path, suffix.Load().(string)) {
			http.Error(w, `{"errors":["1 error occurred"]}`, s)
			return
		}
		vault.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	root, _ := open(t, f.cfg)
	put(t, root, "good", "rt", 0)
	put(t, root, "bad", "rt", 0)
	f.cfg.Address = proxy.URL
	b, _ := open(t, f.cfg)
	wantHeads(t, b, "bad@1 good@1")
	suffix.Store("/bad")
	status.Store(500)
	wantHeads(t, b, "bad@0 good@1")
	if _, _, err := b.Load(t.Context(), "bad"); !errors.Is(err, tokenstore.ErrWithheld) {
		t.Errorf("not withheld: %v", err)
	}
	for _, s := range []int64{429, 502, 503} {
		status.Store(s)
		if _, err := b.List(t.Context()); err == nil {
			t.Errorf("status %d did not fail the listing", s)
		}
		if _, _, err := b.Load(t.Context(), "bad"); err == nil || errors.Is(err, tokenstore.ErrWithheld) {
			t.Errorf("status %d is withheld: %v", s, err)
		}
	}
	suffix.Store("")
	status.Store(500)
	_, err = b.List(t.Context())
	wantWords(t, err, "status 500")
	if _, _, err := b.Load(t.Context(), "bad"); err == nil || errors.Is(err, tokenstore.ErrWithheld) {
		t.Errorf("with all of Vault broken it is withheld: %v", err)
	}
}
