package vault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// accessors returns the accessors of the tokens that carry the fixture's policy.
func (f fixture) accessors(t *testing.T) []string {
	t.Helper()
	list, err := f.Root.Logical().ListWithContext(t.Context(), "auth/token/accessors")
	must(t, err)
	var ours []string
	for _, a := range list.Data["keys"].([]any) {
		secret, err := f.Root.Auth().Token().LookupAccessorWithContext(t.Context(), a.(string))
		if err != nil {
			continue // gone since
		}
		if policies, err := secret.TokenPolicies(); err == nil && slices.Contains(policies, "all-"+f.cfg.Mount) {
			ours = append(ours, a.(string))
		}
	}
	return ours
}

// revokeAll revokes the tokens that carry the fixture's policy.
func (f fixture) revokeAll(t *testing.T) {
	t.Helper()
	for _, a := range f.accessors(t) {
		must(t, f.Root.Auth().Token().RevokeAccessorWithContext(t.Context(), a))
	}
}

func TestARevokedTokenIsReplacedWithoutAFailedCall(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, nil)
	b, _ := open(t, f.cfg)
	v := put(t, b, "a", "rt", 0)
	time.Sleep(time.Second) // a login that is younger than a second is not followed by another at once
	f.revokeAll(t)
	began := time.Now()
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if _, _, err := b.Load(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		})
	}
	put(t, b, "a", "rt2", v)
	group.Wait()
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if n := len(f.accessors(t)); n != 1 {
		t.Errorf("%d logins for one dead token", n)
	}
}

func TestATokenThatKeepsDyingIsReplacedOnceASecondAtMost(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, nil)
	b, _ := open(t, f.cfg)
	began, n := time.Now(), 0
	for ; n < 3; n++ {
		f.revokeAll(t)
		if _, err := b.List(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("%d logins within %v", n, took)
	}
}

func TestAPolicysRefusalNamesPathAndCapabilityAndCausesNoLogin(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, map[string]any{"token_policies": "readonly-" + f.cfg.Mount})
	must(t, f.Root.Sys().PutPolicyWithContext(t.Context(), "readonly-"+f.cfg.Mount, fmt.Sprintf(`path "%s/data/accounts/*" { capabilities = ["read"] }`, f.cfg.Mount)))
	b, log := open(t, f.cfg)
	expires := b.LoginExpires()
	for range 3 {
		_, err := b.CompareAndSwap(t.Context(), "a", sample("rt"), 0)
		wantWords(t, err, `lacks "create" on `+f.path("data", "a"))
		_, err = b.CompareAndSwap(t.Context(), "a", sample("rt"), 1)
		wantWords(t, err, `lacks "`, `on `+f.path("data", "a"))
		_, err = b.List(t.Context())
		wantWords(t, err, `lacks "list" on `+f.cfg.Mount+"/metadata/accounts")
	}
	if b.LoginExpires() != expires {
		t.Error("a policy's refusal caused a login")
	}
	if log.Len() > 0 {
		t.Errorf("it logs what it returns: %s", log.text())
	}
}

func TestATokenIsRenewedLongBeforeItsEndAndReplacedWhenRenewingEnds(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, map[string]any{"token_ttl": "3s", "token_max_ttl": "5s"})
	b, log := open(t, f.cfg)
	seen := map[string]bool{}
	for end := time.Now().Add(9 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := b.List(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, log.text())
		}
		if left := time.Until(b.LoginExpires()); left <= 0 {
			t.Fatalf("the token in use ended %v ago", -left)
		}
		for _, a := range f.accessors(t) {
			seen[a] = true
		}
	}
	if n := len(seen); n < 2 || n > 4 {
		t.Errorf("%d tokens in 9 s of which each may live 5 s, want 2 to 4", n)
	}
}

func TestABatchTokenIsReplacedBeforeItsEnd(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, map[string]any{"token_ttl": "2s", "token_type": "batch"})
	b, log := open(t, f.cfg)
	first := b.LoginExpires()
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := b.List(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, log.text())
		}
	}
	if !b.LoginExpires().After(first.Add(time.Second)) {
		t.Error("the login was not replaced")
	}
}

func TestATokenFileMayBeReplacedWhenItsTokenIsDead(t *testing.T) {
	f := prepare(t, server(t))
	policy := f.grantAll(t)
	path := file(t, "token", newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{policy}, TTL: "1h"}))
	f.cfg.Auth = access.Auth{TokenFile: path}
	b, _ := open(t, f.cfg)
	f.revokeAll(t)
	_, err := b.List(t.Context())
	wantWords(t, err, "looking up the token of auth.token_file")
	must(t, os.WriteFile(path, []byte(newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{policy}, TTL: "1h"})), 0o600))
	eventually(t, "the new token", func() error { _, err := b.List(t.Context()); return err })
}

func TestClosingGivesBackALoginOfOursAndNoTokenOfAFile(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, nil)
	b, _ := open(t, f.cfg)
	if n := len(f.accessors(t)); n != 1 {
		t.Fatalf("%d tokens before", n)
	}
	must(t, b.Close())
	if n := len(f.accessors(t)); n != 0 {
		t.Errorf("%d tokens after closing", n)
	}
	f.cfg.Auth = access.Auth{TokenFile: file(t, "token", newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{f.grantAll(t)}, TTL: "1h"}))}
	b, _ = open(t, f.cfg)
	must(t, b.Close())
	if n := len(f.accessors(t)); n != 1 {
		t.Errorf("%d tokens after closing, want the file's", n)
	}
}

func TestNothingIsTakenFromTheEnvironment(t *testing.T) {
	f := prepare(t, server(t))
	t.Setenv("VAULT_ADDR", "https://elsewhere.invalid")
	t.Setenv("VAULT_TOKEN", "wrong")
	t.Setenv("VAULT_NAMESPACE", "team")
	t.Setenv("VAULT_HEADERS", `{"X-Custom":"1"}`)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	b, _ := open(t, f.cfg)
	wantWorks(t, b)
}

func TestACallsContextBoundsTheWaitForALogin(t *testing.T) {
	f := prepare(t, server(t))
	f.cfg.Address = silent(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	b, err := vault.Open(ctx, f.cfg, zap.NewNop())
	if b != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened %v, error %v; want the context's", b != nil, err)
	}
}

func ids(heads []tokenstore.Head) string {
	var s []string
	for _, h := range heads {
		s = append(s, fmt.Sprintf("%s@%d", h.ID, h.Version))
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}
