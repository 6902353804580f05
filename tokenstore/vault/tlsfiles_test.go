package vault_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tlsfile/tlsfiletest"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// front is a TLS listener before the real Vault, with a certificate that can be changed. Logins with a certificate,
// which need a Vault with TLS of its own, it answers with a token of the real one.
type front struct {
	*httptest.Server
	shows  atomic.Pointer[tls.Certificate]
	caller atomic.Pointer[string] // serial number of the latest caller's certificate
}

func newFront(t *testing.T, f fixture) *front {
	t.Helper()
	target, err := url.Parse(f.Address)
	must(t, err)
	token := newToken(t, f.Server, &api.TokenCreateRequest{Policies: []string{f.grantAll(t)}, TTL: "1h"})
	p, genuine := &front{}, httputil.NewSingleHostReverseProxy(target)
	idle := &http.Transport{DisableKeepAlives: true}
	genuine.Transport = idle
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := r.TLS.PeerCertificates; len(c) > 0 {
			serial := c[0].SerialNumber.String()
			p.caller.Store(&serial)
		}
		if r.URL.Path == "/v1/auth/cert/login" {
			_, _ = fmt.Fprintf(w, `{"auth":{"client_token":%q,"lease_duration":3600,"renewable":true}}`, token)
			return
		}
		genuine.ServeHTTP(w, r)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0) // it would print who does not trust it
	p.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
		c.Certificates = []tls.Certificate{*p.shows.Load()}
		return c, nil
	}}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func TestVaultIsTrustedByTheAuthorityThatTheFileHolds(t *testing.T) {
	f := prepare(t, server(t))
	type issued struct {
		name  string
		front tls.Certificate
	}
	var all []issued // the latest three are of the change that is tried
	next := func(time.Time, time.Time) (tlsfiletest.Contents, string) {
		a := tlsfiletest.NewAuthority(t)
		c := a.Sign("vault")
		all = append(all, issued{c.Serial, c.TLS()})
		return tlsfiletest.Contents{"ca.crt": a.PEM()}, c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		p, first := newFront(t, f), len(all)-1
		p.shows.Store(&all[first].front)
		cfg := f.cfg
		cfg.Address, cfg.CAFile, cfg.Files = p.URL, filepath.Join(dir, "ca.crt"), files
		b, _ := open(t, cfg)
		return func() (trusted string) {
			for _, i := range all[first:] {
				p.shows.Store(&i.front)
				p.CloseClientConnections()
				if _, err := b.List(t.Context()); err == nil {
					trusted += i.name
				}
			}
			return trusted
		}
	}, tlsfiletest.Change.Timed)
}

func TestTheLoginShowsVaultTheCertificateThatTheFilesHold(t *testing.T) {
	f, own := prepare(t, server(t)), tlsfiletest.NewAuthority(t)
	shows := own.Sign("vault").TLS()
	next := func(from, to time.Time) (tlsfiletest.Contents, string) {
		c := own.SignFor("tokenward", from, to)
		return tlsfiletest.Contents{"tls.crt": c.Cert, "tls.key": c.Key}, c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		p := newFront(t, f)
		p.shows.Store(&shows)
		cfg := f.cfg
		cfg.Address, cfg.CAFile, cfg.Files = p.URL, file(t, "ca", string(own.PEM())), files
		crt, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		cfg.Auth = access.Auth{Cert: &access.Cert{Mount: "cert", CertFile: crt, KeyFile: key}}
		b, _ := open(t, cfg)
		return func() string {
			p.CloseClientConnections()
			if _, err := b.List(t.Context()); err != nil {
				return err.Error()
			}
			return *p.caller.Load()
		}
	})
}
