package admin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
)

// started serves on a free port until the test ends.
func started(t *testing.T, s *Server) *Server {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error("stopping:", err)
		}
	})
	return s
}

func get(t *testing.T, c *http.Client, url string) answer {
	t.Helper()
	defer c.CloseIdleConnections()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestItServesOnTheAddressItTells(t *testing.T) {
	s := started(t, server(t, &fakeTokens{}))
	if strings.HasSuffix(s.Addr(), ":0") {
		t.Fatal("Addr is", s.Addr())
	}
	if a := get(t, &http.Client{}, "http://"+s.Addr()+"/healthz"); a.status != 200 ||
		strings.TrimSpace(a.body) != `{"status":"ok"}` {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestAPortInUseIsAnErrorThatNamesTheSetting(t *testing.T) {
	s := started(t, server(t, &fakeTokens{}))
	second := server(t, &fakeTokens{}, func(c *Config) { c.Listen = s.Addr() })
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), s.Addr()) ||
		!strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("got %v", err)
	}
	if err := second.Stop(t.Context()); err != nil {
		t.Error("stopping what never started:", err)
	}
}

func TestASuccessorServesOnceItsPredecessorHasLeft(t *testing.T) {
	first := server(t, &fakeTokens{})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := started(t, server(t, &fakeTokens{accounts: accountsNamed("5")}, func(c *Config) { c.Listen, c.Succeeds = first.Addr(), true }))
	status := func() answer {
		r := mustRequest(t, "http://"+first.Addr()+refreshPath)
		r.Header.Set("Authorization", "bearer "+adminToken)
		r.Close = true
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return answer{}
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return answer{status: resp.StatusCode, body: string(body)}
	}
	if a := status(); a.status != 200 || strings.Contains(a.body, `"5"`) {
		t.Errorf("before: %d %s", a.status, a.body)
	}
	if err := first.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(status().body, `"5"`); {
		if time.Now().After(end) {
			t.Fatal("the successor", second.cfg.Listen, "does not serve")
		}
	}
}

func TestASuccessorThatNeverGotItsTurnStops(t *testing.T) {
	first := started(t, server(t, &fakeTokens{}))
	// stopped by its clean-up
	started(t, server(t, &fakeTokens{}, func(c *Config) { c.Listen, c.Succeeds = first.Addr(), true }))
}

// Over a connection: the http.Server fills its own TLSConfig, and a check that read it took plain HTTP for TLS.
func TestHostsAreCheckedOverPlainHTTP(t *testing.T) {
	s := started(t, server(t, &fakeTokens{}))
	for name, want := range map[string]int{"localhost:8980": 200, "127.0.0.1": 200, "[::1]:8980": 200, "evil.example": 421, "8.8.8.8": 421} {
		r := mustRequest(t, "http://"+s.Addr()+"/healthz")
		r.Host = name
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(name, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("Host %s: got %d, want %d", name, resp.StatusCode, want)
		}
	}
}

func TestStopAnswersWhoWaitsForAJob(t *testing.T) {
	entered := make(chan struct{})
	f := &fakeTokens{accounts: accountsNamed("5")}
	f.script = func(ctx context.Context, _ tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
		close(entered)
		<-ctx.Done()
		return tokenstore.RefreshResult{}, ctx.Err()
	}
	s := server(t, f)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 1)
	go func() {
		r, _ := http.NewRequest("POST", "http://"+s.Addr()+refreshPath, strings.NewReader(refreshAll))
		r.Header.Set("Authorization", "Bearer "+adminToken)
		r.Close = true
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Error(err)
			got <- 0
			return
		}
		_ = resp.Body.Close()
		got <- resp.StatusCode
	}()
	<-entered
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if status := <-got; status != 200 {
		t.Errorf("the waiting call got %d", status)
	}
}

func TestReadinessTellsReasons(t *testing.T) {
	f := &fakeTokens{}
	s := server(t, f)
	if a := send(s, "GET", "/readyz", ""); a.status != 200 || !strings.Contains(a.body, `"ready"`) {
		t.Errorf("ready: %d %s", a.status, a.body)
	}
	f.reasons = []string{"accounts are not loaded yet"}
	a := send(s, "GET", "/readyz", "")
	got := decode[struct {
		Status  string   `json:"status"`
		Reasons []string `json:"reasons"`
	}](t, a)
	if a.status != http.StatusServiceUnavailable || len(got.Reasons) != 1 || got.Reasons[0] != f.reasons[0] {
		t.Errorf("not ready: %d %s", a.status, a.body)
	}
	f.reasons, f.degraded = nil, []string{"the store does not answer"}
	if a := send(s, "GET", "/readyz", ""); a.status != 200 || !strings.Contains(a.body, `"degraded"`) ||
		!strings.Contains(a.body, f.degraded[0]) {
		t.Errorf("degraded: %d %s", a.status, a.body)
	}
	if a := send(s, "GET", "/healthz", ""); a.status != 200 {
		t.Errorf("liveness follows readiness: %d", a.status)
	}
}

func TestReadinessTellsStrangersNoReasons(t *testing.T) {
	f := &fakeTokens{}
	s := server(t, f, func(c *Config) { c.Exposed = true })
	for status, set := range map[int]func(){
		503: func() { f.reasons = []string{"account 5 needs a new credential"} },
		200: func() { f.reasons, f.degraded = nil, []string{"account 5 needs a new credential"} },
	} {
		set()
		for name, who := range map[string]func(*http.Request){
			"no token": without("Authorization"), "a wrong token": header("Authorization", "Bearer not-the-token-0123456789"),
		} {
			if a := send(s, "GET", "/readyz", "", who); a.status != status || strings.Contains(a.body, "account") {
				t.Errorf("%s: got %d %s, want %d", name, a.status, a.body, status)
			}
		}
		if a := send(s, "GET", "/readyz", ""); a.status != status || !strings.Contains(a.body, "account 5") {
			t.Errorf("with the token: %d %s", a.status, a.body)
		}
		f.degraded = nil
	}
}

func TestMetricsAreThoseOfTheRegistryHandedIn(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "tokenward_of_this_test_total", Help: "h"})
	reg.MustRegister(c)
	c.Add(3)
	s, err := New(Config{Listen: "127.0.0.1:0", TokenFile: filepath.Join(t.TempDir(), "t")}, &fakeTokens{}, reg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if a := send(s, "GET", "/metrics",
		""); a.status != 200 || !strings.Contains(a.body, "tokenward_of_this_test_total 3") ||
		strings.Contains(a.body, "go_goroutines") {
		t.Errorf("got %d %.300s", a.status, a.body)
	}
}

// certificate writes a self-signed certificate for a name and returns its files.
func certificate(t *testing.T, name string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, data := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return certFile, keyFile, pool
}

func TestWithTLSTheCookieIsSecureAndTheCertificatesNamesAreOurs(t *testing.T) {
	certFile, keyFile, pool := certificate(t, "gateway.example")
	s := started(t, server(t, &fakeTokens{}, func(c *Config) { c.CertFile, c.KeyFile = certFile, keyFile }))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if a := get(t, client, "https://"+s.Addr()+"/healthz"); a.status != 200 {
		t.Errorf("over TLS: %d", a.status)
	}
	if !signIn(t, s).Secure {
		t.Error("the cookie may travel without TLS")
	}
	if a := send(s, "GET", "/healthz", "", host("gateway.example:8980")); a.status != 200 {
		t.Errorf("the certificate's name: %d", a.status)
	}
	wantProblem(t, send(s, "GET", "/healthz", "", host("evil.example")), http.StatusMisdirectedRequest, "wrong-host")
}

func TestWithAClientCAOnlyItsClientsGetIn(t *testing.T) {
	certFile, keyFile, pool := certificate(t, "gateway.example")
	s := started(t, server(t, &fakeTokens{}, func(c *Config) {
		c.CertFile, c.KeyFile, c.ClientCAFile = certFile, keyFile, certFile
	}))
	stranger := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	if resp, err := stranger.RoundTrip(mustRequest(t, "https://"+s.Addr()+"/healthz")); err == nil {
		_ = resp.Body.Close()
		t.Error("a client without a certificate got", resp.StatusCode)
	}
	own, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}}},
	}
	if a := get(t, client, "https://"+s.Addr()+"/healthz"); a.status != 200 {
		t.Errorf("with a certificate: %d", a.status)
	}
}

func mustRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
