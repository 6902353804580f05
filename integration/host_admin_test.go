package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// certified writes a certificate for 127.0.0.1 and its key, as admin.pem and admin-key.pem.
func certified(t *testing.T, folder string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	put(t, filepath.Join(folder, "admin.pem"), string(cert))
	put(t, filepath.Join(folder, "admin-key.pem"),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func TestOffLoopbackStrangersSeeNeitherMetricsNorReasons(t *testing.T) {
	for name, c := range map[string]struct {
		keys    string // of the admin section
		metrics int    // status for strangers
	}{
		"by default":  {"", 401},
		"switched on": {", metrics_auth: true", 401},
		"asked for":   {", metrics_auth: false", 200},
	} {
		t.Run(name, func(t *testing.T) {
			g := prepared(t)
			trust := certified(t, g.Opts.Folder)
			_, port, _ := net.SplitHostPort(g.Opts.Admin)
			section := `admin: { listen: "0.0.0.0:` + port + `", tls: { cert_file: admin.pem, key_file: admin-key.pem }` + c.keys + " }"
			put(t, g.config(), regexp.MustCompile(`(?m)^admin: .*$`).ReplaceAllString(string(g.yaml(t)), section))
			if err := g.StartService(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = g.Stop() })
			client := &http.Client{
				Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}},
			}
			defer client.CloseIdleConnections()
			ask := func(path, token string) (int, string) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+port+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				if token != "" {
					req.Header.Set("Authorization", "Bearer "+token)
				}
				resp, err := client.Do(req)
				if err != nil {
					return 0, err.Error()
				}
				defer func() { _ = resp.Body.Close() }()
				body, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(body)
			}
			const why = "there is no account"
			token := ""
			eventually(t, 10*time.Second, "the service says why it is not ready", func() bool {
				data, _ := os.ReadFile(filepath.Join(g.Opts.Folder, "data", "admin.token")) // it is written meanwhile
				token = strings.TrimSpace(string(data))
				code, body := ask("/readyz", token)
				return token != "" && code == 503 && strings.Contains(body, why)
			})
			code, body := ask("/readyz", "")
			if code != 503 || !strings.Contains(body, "not_ready") || strings.Contains(body, "reasons") ||
				strings.Contains(body, why) {
				t.Errorf("readiness for strangers: %d %s", code, body)
			}
			code, body = ask("/metrics", "")
			expect(t, "metrics for strangers", code, c.metrics)
			if code == 401 && strings.Contains(body, "tokenward_") {
				t.Errorf("metrics: %s", body)
			}
			code, body = ask("/metrics", token)
			if code != 200 || !strings.Contains(body, "tokenward_build_info") {
				t.Errorf("metrics with the token: %d %s", code, body)
			}
			if out, err := g.CLI("", "status", "--ready"); err == nil || !strings.Contains(out, why) {
				t.Errorf("status --ready gives no reasons: %v: %s", err, out)
			}
		})
	}
}
