package vault

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tokenward/tokenward/tokenstore/vault/kv"
)

// readRetries is how often a read is repeated when Vault is busy. A write is never repeated: if the first one was applied and
// its answer lost, the second would meet its own success as a conflict.
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
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading ca_file: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s has no certificate in PEM form", cfg.CAFile)
		}
	}
	if c := cfg.Auth.Cert; c != nil {
		if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
			return nil, fmt.Errorf("reading auth.cert: %w", err)
		}
		tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &pair, err
		}
	}
	shared := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: kv.ReadTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: kv.ReadTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 2 * parallel,
		IdleConnTimeout:     90 * time.Second,
	}
	fresh := shared.Clone()
	fresh.DisableKeepAlives = true
	return &dialer{cfg: cfg, base: base, shared: noRedirects(shared), fresh: noRedirects(fresh)}, nil
}

// noRedirects leaves redirects to the Vault client, which follows one, and never from https to http.
func noRedirects(transport *http.Transport) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
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
