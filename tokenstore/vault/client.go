package vault

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// readRetries is how often a read is repeated when Vault is busy. A write is never repeated: if the first one was
// applied and its answer lost, the second would meet its own success as a conflict.
const readRetries = 1

// dialer makes clients: one per token and purpose, on shared connections.
type dialer struct {
	cfg    Config
	base   *url.URL // of the API; paths are appended
	shared *http.Client
	fresh  *http.Client // for logins: a new connection each time, so that a renewed client certificate is shown
}

func newDialer(cfg Config) (*dialer, error) {
	base, err := url.Parse(strings.TrimRight(cfg.Address, "/") + "/v1/")
	if err != nil {
		return nil, err
	}
	roots, err := cfg.Files.Roots("store.vault.ca_file", cfg.CAFile)
	if err != nil {
		return nil, err
	}
	var own func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	if c := cfg.Auth.Cert; c != nil {
		pair, err := cfg.Files.Pair("store.vault.auth.cert", c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		own = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { //nolint:unparam // crypto/tls wants it
			return pair.Get(), nil
		}
	}
	via := func(keep bool) *http.Client {
		return noRedirects(tlsfile.NewTransport(roots, func(roots *x509.CertPool) *http.Transport {
			return &http.Transport{
				DialContext:         (&net.Dialer{Timeout: kv.ReadTimeout, KeepAlive: 15 * time.Second}).DialContext,
				TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, GetClientCertificate: own},
				TLSHandshakeTimeout: kv.ReadTimeout,
				ForceAttemptHTTP2:   true,
				MaxIdleConnsPerHost: 2 * parallel,
				IdleConnTimeout:     90 * time.Second,
				DisableKeepAlives:   !keep,
			}
		}))
	}
	return &dialer{cfg: cfg, base: base, shared: via(true), fresh: via(false)}, nil
}

// noRedirects leaves redirects to the Vault client, which follows one, and never from https to http.
func noRedirects(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (d *dialer) reader(token string) (*api.Client, error) {
	return d.client(d.shared, token, kv.ReadTimeout, readRetries)
}

func (d *dialer) writer(token string) (*api.Client, error) {
	return d.client(d.shared, token, kv.WriteTimeout, 0)
}

func (d *dialer) client(via *http.Client, token string, timeout time.Duration, retries int) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{
		Address: d.cfg.Address, HttpClient: via, Timeout: timeout,
		MaxRetries: retries, MinRetryWait: 100 * time.Millisecond, MaxRetryWait: 300 * time.Millisecond,
		DisableRedirects: strings.HasPrefix(d.cfg.Address, "http:"), // no plain text to another host
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the Vault client: %w", err)
	}
	c.SetHeaders(http.Header{api.RequestHeaderName: {"true"}}) // without what the client took from the environment
	c.ClearNamespace()
	if d.cfg.Namespace != "" {
		c.SetNamespace(d.cfg.Namespace)
	}
	c.SetToken(token)
	return c, nil
}

func (d *dialer) close() {
	d.shared.CloseIdleConnections()
	d.fresh.CloseIdleConnections()
}
