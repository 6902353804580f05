package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/integration/vaultserver"
	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// grantAll writes a policy that allows everything in the fixture's mount, and returns its name.
func (f fixture) grantAll(t *testing.T) string {
	t.Helper()
	name := "all-" + f.cfg.Mount
	rules := fmt.Sprintf("path \"%s/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }", f.cfg.Mount)
	must(t, f.Root.Sys().PutPolicyWithContext(t.Context(), name, rules))
	return name
}

// enable enables an auth method and returns its mount.
func enable(t *testing.T, s *vaultserver.Server, kind string) string {
	t.Helper()
	mount := fmt.Sprintf("%s%d", kind, mounts.Add(1))
	must(t, s.Root.Sys().EnableAuthWithOptionsWithContext(t.Context(), mount, &api.EnableAuthOptions{Type: kind}))
	return mount
}

func write(t *testing.T, s *vaultserver.Server, path string, data map[string]any) *api.Secret {
	t.Helper()
	secret, err := s.Root.Logical().WriteWithContext(t.Context(), path, data)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// appRole makes an AppRole with the given settings and sets the fixture's configuration to log in with it.
func (f *fixture) appRole(t *testing.T, settings map[string]any) {
	t.Helper()
	mount := enable(t, f.Server, "approle")
	role := map[string]any{"token_policies": f.grantAll(t), "token_ttl": "1h"}
	maps.Copy(role, settings)
	write(t, f.Server, "auth/"+mount+"/role/tw", role)
	id, err := f.Root.Logical().ReadWithContext(t.Context(), "auth/"+mount+"/role/tw/role-id")
	must(t, err)
	f.cfg.Auth = access.Auth{AppRole: &access.AppRole{
		Mount: mount, RoleID: id.Data["role_id"].(string), SecretIDFile: file(t, "secret_id", f.newSecretID(t, mount)),
	}}
}

func (f *fixture) newSecretID(t *testing.T, mount string) string {
	t.Helper()
	return write(t, f.Server, "auth/"+mount+"/role/tw/secret-id", nil).Data["secret_id"].(string)
}

func wantWorks(t *testing.T, b *vault.Backend) {
	t.Helper()
	_, v, _ := b.Load(t.Context(), "login-probe")
	put(t, b, "login-probe", "rt", v)
	wantToken(t, b, "login-probe", "rt")
}

func TestATokenFromAFileServes(t *testing.T) {
	b, _ := open(t, prepare(t, server(t)).cfg)
	wantWorks(t, b)
}

func TestAnAppRoleServes(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, nil)
	b, _ := open(t, f.cfg)
	wantWorks(t, b)
	if left := time.Until(b.LoginExpires()); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the login ends in %v, want an hour", left)
	}
}

func TestAJWTServes(t *testing.T) {
	f := prepare(t, server(t))
	mount := enable(t, f.Server, "jwt")
	key := newKey(t)
	write(t, f.Server, "auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{publicPEM(t, key)}})
	write(t, f.Server, "auth/"+mount+"/role/tw", map[string]any{
		"role_type":       "jwt",
		"user_claim":      "sub",
		"bound_subject":   "svc",
		"bound_audiences": "vault",
		"token_policies":  f.grantAll(t),
	})
	f.cfg.Auth = access.Auth{JWT: &access.Workload{Mount: mount, Role: "tw", TokenFile: file(t, "jwt", signJWT(t, key))}}
	b, _ := open(t, f.cfg)
	wantWorks(t, b)
}

func TestACertificateServesOverTLS(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartDevTLS))
	mount := enable(t, f.Server, "cert")
	key := newKey(t)
	cert := certificate(t, key)
	write(t, f.Server, "auth/"+mount+"/certs/tw", map[string]any{"certificate": cert, "token_policies": f.grantAll(t), "token_ttl": "2s"})
	der, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	keyPEM := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	f.cfg.Auth = access.Auth{
		Cert: &access.Cert{Mount: mount, Role: "tw", CertFile: file(t, "cert", cert), KeyFile: file(t, "key", keyPEM)},
	}
	b, _ := open(t, f.cfg)
	wantWorks(t, b)
	first := b.LoginExpires()
	eventually(t, "the renewal", func() error {
		if !b.LoginExpires().After(first) {
			return fmt.Errorf("ends at %v", first)
		}
		return nil
	})
	wantWorks(t, b)
}

func TestATrustAnchorIsNeededForTLS(t *testing.T) {
	f := prepare(t, own(t, vaultserver.StartDevTLS))
	f.cfg.CAFile = ""
	b, _ := open(t, f.cfg)
	_, err := b.List(t.Context())
	wantWords(t, err, "certificate", "store.vault.ca_file")
}

// The minimal build of Vault lacks the Kubernetes method: its login path is played by a stub that knows the method's
// documented request and hands out a token of the real server, to which everything else goes.
func TestAKubernetesServiceAccountServes(t *testing.T) {
	f := prepare(t, server(t))
	target, err := url.Parse(f.Address)
	must(t, err)
	token := newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{f.grantAll(t)}, TTL: "1h"})
	genuine := httputil.NewSingleHostReverseProxy(target)
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/auth/k8s/login" {
			genuine.ServeHTTP(w, r)
			return
		}
		var got struct{ Role, JWT string }
		if json.NewDecoder(r.Body).Decode(&got) != nil || got.Role != "tw" || got.JWT != "pod-token" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"auth":{"client_token":%q,"lease_duration":3600,"renewable":true}}`, token)
	}))
	t.Cleanup(stub.Close)
	f.cfg.Address = stub.URL
	f.cfg.Auth = access.Auth{
		Kubernetes: &access.Workload{Mount: "k8s", Role: "tw", TokenFile: file(t, "jwt", "pod-token")},
	}
	b, _ := open(t, f.cfg)
	wantWorks(t, b)
	must(t, b.Close())
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestATokenOfTheOperatorsIsUsedAndNotGivenBack(t *testing.T) {
	f := prepare(t, server(t))
	value := newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{f.grantAll(t)}, TTL: "1h"})
	f.cfg.Token = tokenstore.NewSecret(value + "\n") // the file plays no part
	b, _ := open(t, f.cfg)
	wantWorks(t, b)
	must(t, b.Close())
	again, _ := open(t, f.cfg)
	wantWorks(t, again)
	for _, wrong := range []string{"no such token", "hvs.dead"} {
		f.cfg.Token = tokenstore.NewSecret(wrong)
		b, _ := open(t, f.cfg)
		_, err := b.List(t.Context())
		wantWords(t, err, "VAULT_TOKEN")
		if strings.Contains(err.Error(), wrong) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}

func TestTheRoleIDMayBeInAFile(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, map[string]any{})
	role := f.cfg.Auth.AppRole
	role.RoleID, role.RoleIDFile = "", file(t, "role_id", role.RoleID)
	b, _ := open(t, f.cfg)
	wantWorks(t, b)
}

func TestTheSecretIDIsReadAgainAtEachLogin(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, map[string]any{"secret_id_num_uses": 1})
	b, _ := open(t, f.cfg)
	role := f.cfg.Auth.AppRole
	must(t, os.WriteFile(role.SecretIDFile, []byte(f.newSecretID(t, role.Mount)), 0o600))
	f.revokeAll(t)
	wantWorks(t, b)
}

func TestAWrongSecretIDIsReportedInVaultsWordsAndWithoutIt(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, nil)
	const wrong = "11111111-2222-3333-4444-555555555555"
	must(t, os.WriteFile(f.cfg.Auth.AppRole.SecretIDFile, []byte(wrong), 0o600))
	b, log := open(t, f.cfg)
	_, err := b.List(t.Context())
	wantWords(t, err, "logging in to Vault with AppRole", "refused at auth/"+f.cfg.Auth.AppRole.Mount+"/login", "invalid")
	if text := err.Error() + log.text(); strings.Contains(text, wrong) {
		t.Errorf("the secret id is in %q", text)
	}
	eventually(t, "one warning", func() error { // the call may end before it is written
		if n := log.FilterMessageSnippet("does not work").Len(); n != 1 {
			return fmt.Errorf("%d warnings", n)
		}
		return nil
	})
}

func TestALoginThatWasRefusedWorksOnceItsCauseIsMended(t *testing.T) {
	f := prepare(t, server(t))
	f.appRole(t, nil)
	role := f.cfg.Auth.AppRole
	must(t, os.Remove(role.SecretIDFile))
	b, log := open(t, f.cfg)
	_, err := b.List(t.Context())
	wantWords(t, err, "auth.approle.secret_id_file", "no such file")
	must(t, os.WriteFile(role.SecretIDFile, []byte(f.newSecretID(t, role.Mount)), 0o600))
	eventually(t, "the login", func() error { _, err := b.List(t.Context()); return err })
	eventually(t, "the note", func() error {
		if log.FilterMessageSnippet("works again").Len() == 0 {
			return fmt.Errorf("none in %s", log.text())
		}
		return nil
	})
}

// A server that quotes in its error what it was sent must not make us show it.
func TestAnEchoedSecretIsTakenOut(t *testing.T) {
	var calls atomic.Int32
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).
			Encode(map[string]any{"errors": []string{"you sent " + string(body) + r.Header.Get("X-Vault-Token")}})
	}))
	defer echo.Close()
	for name, auth := range map[string]access.Auth{
		"secret id":  {AppRole: &access.AppRole{Mount: "approle", RoleID: "role", SecretIDFile: file(t, "s", "planted-secret")}},
		"jwt":        {JWT: &access.Workload{Mount: "jwt", Role: "role", TokenFile: file(t, "s", "planted-secret")}},
		"token file": {TokenFile: file(t, "s", "planted-secret")},
	} {
		t.Run(name, func(t *testing.T) {
			b, log := open(t, usual(echo.URL, auth))
			_, err := b.List(t.Context())
			wantWords(t, err, "you sent", "[redacted]")
			if text := err.Error() + log.text(); strings.Contains(text, "planted") {
				t.Errorf("the secret is in %q", text)
			}
		})
	}
	if calls.Load() < 3 {
		t.Error("the server was not asked")
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func publicPEM(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// signJWT makes an ES256 token of subject svc for audience vault.
func signJWT(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	part := base64.RawURLEncoding.EncodeToString
	signed := part([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." +
		part(
			fmt.Appendf(nil, `{"sub":"svc","aud":"vault","iat":%d,"exp":%d}`, time.Now().Unix(),
				time.Now().Add(time.Hour).Unix()),
		)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	must(t, err)
	return signed + "." + part(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func certificate(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "tokenward"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
