package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shortFolder leaves room for the path of a socket, which a long test name would take.
func shortFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "config") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// writeFiles makes the certificates and keys that the file of all keys names.
func writeFiles(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)},
		&x509.Certificate{}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]*pem.Block{".key": {Type: "PRIVATE KEY", Bytes: der}, ".crt": {
		Type:  "CERTIFICATE",
		Bytes: cert,
	}, ".ca": {Type: "CERTIFICATE", Bytes: cert}}
	for _, name := range []string{"e.crt", "e.key", "e.ca", "a.crt", "a.key", "a.ca", "v.crt", "v.key", "p.ca", "u.ca"} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(blocks[filepath.Ext(name)]),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func refusedWith(t *testing.T, text string, want ...string) {
	t.Helper()
	_, err := load(t, smallest+text, noEnvironment)
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, w)
		}
	}
}

func TestFilesThatServeOrEnvoyCouldNotUseAreRefused(t *testing.T) {
	refusedWith(t, "envoy: { tls: { cert_file: gone.crt, key_file: v.key } }", "tokenward.yaml:2: envoy.tls.cert_file",
		"/gone.crt", "no such file")
	refusedWith(t, "envoy: { tls: { cert_file: v.crt, key_file: p.ca } }", "envoy.tls: cert_file and key_file are no pair")
	refusedWith(t, "admin: { tls: { cert_file: ., key_file: a.key } }", "admin.tls.cert_file", "is a directory")
	refusedWith(t, "extproc: { tls: { cert_file: e.crt, key_file: e.key, client_ca_file: e.key } }",
		"extproc.tls.client_ca_file", "holds no certificate")
	refusedWith(t, "upstreams: { anthropic: { ca_file: gone.pem } }", "upstreams.anthropic.ca_file", "/gone.pem")
	refusedWith(t, "providers: { anthropic: { ca_file: gone.pem } }", "providers.anthropic.ca_file", "/gone.pem")
}

func TestASocketsPathThatTheKernelRefusesIsRefused(t *testing.T) {
	refusedWith(t, "extproc: { listen: unix:/"+strings.Repeat("x", 107)+" }", "extproc.listen", "is 1 bytes too long")
	refusedWith(t, "extproc: { listen: unix:/"+strings.Repeat("x", 99)+"/s }", "is 2 bytes too long")
	mustLoad(t, smallest+"extproc: { listen: unix:/"+strings.Repeat("x", 106)+" }")
}
