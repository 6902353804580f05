package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// signer is a certificate authority that writes into a folder.
type signer struct {
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

func newSigner(t *testing.T, folder, name string) *signer {
	t.Helper()
	s := &signer{folder: folder}
	s.sign(t, name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return s
}

// sign writes NAME.crt and NAME.key. The first one signs the others.
func (s *signer) sign(t *testing.T, name string, c *x509.Certificate) {
	t.Helper()
	c.Subject.CommonName = name
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s.key == nil {
		s.cert, s.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, s.cert, &key.PublicKey, s.key)
	if err != nil {
		t.Fatal(err)
	}
	if c == s.cert {
		if s.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, b := range map[string]*pem.Block{
		".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(s.folder, name+suffix), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// as is how a peer with a certificate calls; "": without one.
func (s *signer) as(t *testing.T, name string) credentials.TransportCredentials {
	t.Helper()
	c := &tls.Config{InsecureSkipVerify: true} // it is the peer that is tried
	if name != "" {
		cert, err := tls.LoadX509KeyPair(filepath.Join(s.folder, name+".crt"), filepath.Join(s.folder, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return credentials.NewTLS(c)
}

// besidePort is a free port of an address that the harness takes none of.
func besidePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// mutual is a folder of certificates, and the lines of extproc that name them.
func mutual(t *testing.T, listen, more string) (own, other *signer, section string) {
	t.Helper()
	folder := t.TempDir()
	own, other = newSigner(t, folder, "ca"), newSigner(t, folder, "other-ca")
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	own.sign(t, "service", &x509.Certificate{
		DNSNames: []string{"tokenward.internal"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 2)}, ExtKeyUsage: both[1:],
	})
	own.sign(t, "envoy", &x509.Certificate{DNSNames: []string{"envoy.internal"}, ExtKeyUsage: both[:1]})
	own.sign(t, "neighbour", &x509.Certificate{DNSNames: []string{"neighbour.internal"}, ExtKeyUsage: both})
	other.sign(t, "stranger", &x509.Certificate{DNSNames: []string{"envoy.internal"}, ExtKeyUsage: both})
	return own, other, fmt.Sprintf(`extproc:
  listen: "tcp://%[1]s"
  tls: { cert_file: %[2]s/service.crt, key_file: %[2]s/service.key, client_ca_file: %[2]s/ca.crt,
    client_san: [envoy.internal],
    envoy_cert_file: %[2]s/envoy.crt, envoy_key_file: %[2]s/envoy.key%[3]s }
`, listen, folder, more)
}

func TestOverTCPTheGeneratedEnvoyServesAndNobodyElseGetsAToken(t *testing.T) {
	for name, more := range map[string]string{"by address": "", "by name": ", server_san: tokenward.internal"} {
		for _, serve := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", apart"}[serve], func(t *testing.T) {
				address := besidePort(t)
				own, other, section := mutual(t, address, more)
				g := startWith(t, func(o *Options) { o.Renewal, o.Serve = section, serve }, one)
				served(t, g.post(t, ""), "")
				for who, creds := range map[string]credentials.TransportCredentials{
					"without a certificate":       own.as(t, ""),
					"with another authority's":    other.as(t, "stranger"),
					"with a neighbour's":          own.as(t, "neighbour"),
					"with the service's own":      own.as(t, "service"),
					"with the authority's itself": own.as(t, "ca"),
					"in the clear":                insecure.NewCredentials(),
				} {
					p, err := dialPeer(address, creds)
					if err != nil {
						t.Fatal(err)
					}
					if got, err := p.says(t.Context(), asks("messages")); err == nil || got != "" {
						t.Errorf("a peer %s got %q, %v", who, got, err)
					}
				}
				p, err := dialPeer(address, own.as(t, "envoy"))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := p.says(t.Context(), asks("messages")); err != nil || !strings.HasPrefix(got, "Bearer ") {
					t.Errorf("a peer with Envoy's certificate got %v", err) // or this test could not fail
				}
				served(t, g.post(t, ""), "")
				for _, reason := range []string{"certificate", "name"} {
					if m := g.metrics(t); !strings.Contains(m, `tokenward_peers_refused_total{reason="`+reason+`"}`) ||
						strings.Contains(m, `tokenward_peers_refused_total{reason="`+reason+`"} 0`) {
						t.Errorf("peers refused for their %s are not counted", reason)
					}
				}
			})
		}
	}
}

func TestAnEnvoyWithTheWrongCertificateGetsNoToken(t *testing.T) {
	_, _, section := mutual(t, besidePort(t), "")
	for name, with := range map[string]string{"a neighbour's": "neighbour", "a stranger's": "stranger"} {
		t.Run(name, func(t *testing.T) {
			section := strings.NewReplacer("/envoy.crt", "/"+with+".crt", "/envoy.key", "/"+with+".key").Replace(section)
			g := startWith(t, func(o *Options) { o.Renewal = section }, one)
			if a := g.post(t, ""); a.Status != 503 {
				t.Errorf("%d: %s", a.Status, a.Body)
			}
			expect(t, "requests at the provider", len(g.Provider.Seen(t.Name())), 0)
		})
	}
}

func TestAnEnvoyThatDoesNotTrustTheServiceIsTold(t *testing.T) {
	_, other, section := mutual(t, besidePort(t), ", server_ca_file: OTHER")
	section = strings.Replace(section, "OTHER", filepath.Join(other.folder, "other-ca.crt"), 1)
	g := startWith(t, func(o *Options) { o.Renewal = section }, one)
	if a := g.post(t, ""); a.Status != 503 {
		t.Errorf("%d: %s", a.Status, a.Body)
	}
	if !strings.Contains(g.Log.String(), "it does not trust extproc.tls.cert_file") {
		t.Error("the log does not tell")
	}
}

func TestAnOpenExtProcPortIsRefusedByCheckAndByServe(t *testing.T) {
	_, _, section := mutual(t, besidePort(t), "")
	g := startWith(t, nil, one)
	yaml := string(g.yaml(t))
	without := func(key string) string {
		before, rest, _ := strings.Cut(section, key+": ")
		_, after, _ := strings.Cut(rest, ",")
		return before + after
	}
	everywhere, local := "extproc: { listen: 'tcp://0.0.0.0:9002'", "extproc: { listen: 'tcp://127.0.0.1:9002'"
	for name, c := range map[string]struct{ section, want string }{
		"everywhere, in the clear":       {everywhere + " }\n", "would give tokens to whoever reaches it"},
		"everywhere, insecure_loopback":  {everywhere + ", insecure_loopback: true }\n", "is for a loopback address alone"},
		"loopback, in the clear":         {local + " }\n", "would give tokens to every user of this machine"},
		"without the peers' authority":   {without("client_ca_file"), "would give tokens"},
		"without the peers' names":       {without("client_san"), "client_san"},
		"without Envoy's certificate":    {without("envoy_cert_file"), "envoy_cert_file"},
		"TLS where the kernel tells who": {strings.Replace(section, `"tcp://`, `"unix:/tmp/`, 1), "is not for a Unix socket"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tokenward.yaml")
			if err := os.WriteFile(file, []byte(yaml+c.section), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "serve"} {
				out, err := exec.Command(g.Opts.Binary, command, "-c", file).CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), c.want) {
					t.Errorf("%s: %v: %s", command, err, out)
				}
			}
		})
	}
}

func TestInsecureLoopbackServesAndIsWarnedOf(t *testing.T) {
	address := besidePort(t)
	g := startWith(t, func(o *Options) {
		o.Renewal = "extproc: { listen: 'tcp://" + address + "', insecure_loopback: true }"
	}, one)
	served(t, g.post(t, ""), "")
	if out := g.cli(t, "check"); !strings.Contains(out, "every user of this machine gets tokens at") {
		t.Errorf("check says %s", out)
	}
	if !strings.Contains(g.Log.String(), "every user of this machine gets tokens at") {
		t.Error("the log has no warning")
	}
}
