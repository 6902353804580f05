package envoy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// realEnvoy returns the Envoy that tests run: $ENVOY, one on PATH, or the one that `make tools` fetches.
func realEnvoy(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ENVOY")
	if path == "" {
		path, _ = exec.LookPath("envoy")
	}
	if path == "" {
		path = filepath.Join("..", ".tools", "envoy", "bin", "envoy")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CheckVersion(t.Context(), path); err != nil {
		t.Fatalf("this test needs a real Envoy: %v: run `make tools`", err)
	}
	return path
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, folder string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// bootstrapYAML is what `tokenward run` would hand to Envoy.
func bootstrapYAML(t *testing.T, c Config) []byte {
	t.Helper()
	boot, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := YAML(boot)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// awkwardNames are texts that YAML 1.1 takes for something else when they are not quoted.
var awkwardNames = []string{"y", "N", "yes", "No", "on", "OFF", "true", "null", "12", "0x1f", "1_000", "1e5", "12-30"}

func TestARealEnvoyAcceptsWhatIsGenerated(t *testing.T) {
	envoy := realEnvoy(t)
	all := samples()
	for _, name := range awkwardNames {
		c := samples()["small"]
		c.Upstreams[0].Name, c.Routes[0].Name, c.Routes[0].Tenant = name, name, name
		all["named "+name] = c
	}
	hosts := samples()["small"] // the forms that the configuration file allows
	hosts.Routes[0].Hosts = []string{"*", "*.example", "llm.*", "llm.example", "llm.example:8443", "*:8443", "*.llm.example:80", "[::1]", "localhost"}
	all["every form of host"] = hosts
	everyPage := samples()["small"]
	everyPage.Origins = []string{"*"}
	all["every web page"] = everyPage
	open := samples()["small"]
	open.LoopbackOnly, open.Listen = false, "[::]:443"
	all["open, on every name"] = open
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			cert, key := certificate(t, folder)
			if c.CertFile != "" {
				c.CertFile, c.KeyFile = cert, key
			}
			if c.ExtProcCAFile != "" {
				c.ExtProcCAFile, c.ExtProcCertFile, c.ExtProcKeyFile = cert, cert, key
			}
			c.SystemCAFile = cert
			for i := range c.Upstreams {
				if c.Upstreams[i].CAFile != "" {
					c.Upstreams[i].CAFile = cert
				}
			}
			file := filepath.Join(folder, "envoy.yaml")
			if err := os.WriteFile(file, bootstrapYAML(t, c), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if out, err := exec.CommandContext(ctx, envoy, "--mode", "validate", "-c", file).CombinedOutput(); err != nil {
				t.Errorf("envoy --mode validate: %v\n%s", err, out)
			}
		})
	}
}
