package extproc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tokenward/tokenward/tokenstore"
)

// authority signs certificates in a folder of its own.
type authority struct {
	t      *testing.T
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, folder: t.TempDir()}
	a.cert, a.key = &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil
	a.sign("ca", a.cert)
	return a
}

// sign writes NAME.crt and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := a.cert
	if a.key == nil {
		a.key, parent = key, c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	if c == a.cert {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for suffix, b := range map[string]*pem.Block{
		".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(a.file(name+suffix), pem.EncodeToMemory(b), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) file(name string) string { return filepath.Join(a.folder, name) }

func client(dns ...string) *x509.Certificate {
	return &x509.Certificate{DNSNames: dns, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

func uris(t *testing.T, list ...string) (out []*url.URL) {
	t.Helper()
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

// guardedServer serves on loopback TCP whoever has a certificate of the authority.
func guardedServer(
	t *testing.T, a *authority, names ...string,
) (address string, reg *prometheus.Registry, logs *observer.ObservedLogs) {
	t.Helper()
	a.sign("server", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"envoy"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	cfg := Config{
		Listen: "tcp://127.0.0.1:0", CertFile: a.file("server.crt"), KeyFile: a.file("server.key"),
		ClientCAFile: a.file("ca.crt"), ClientSANs: names, TrailAge: time.Minute,
	}
	core, logs := observer.New(zap.WarnLevel)
	reg = prometheus.NewRegistry()
	s, err := New(cfg, NewSocket(cfg, zap.NewNop()), &judge{action: tokenstore.Pass}, reg, zap.New(core))
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s.listener.Addr().String(), reg, logs
}

// answered reports whether a peer gets a pick.
func answered(t *testing.T, address string, creds credentials.TransportCredentials) bool {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	st, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
	if err == nil {
		_ = st.Send(message("x-tokenward-route", "r")) // Recv says what is wrong
		_, err = st.Recv()
	}
	if ctx.Err() != nil {
		t.Error("nothing came for ten seconds")
	}
	return err == nil
}

func TestOverTCPOnlyACertificateForOneOfTheNamesGetsTokens(t *testing.T) {
	own, other := newAuthority(t), newAuthority(t)
	address, reg, logs := guardedServer(t, own, "Envoy.internal", "spiffe://x.example/envoy", "192.0.2.1")
	spiffe, withIP, server := client(), client(), client("envoy.internal")
	spiffe.URIs, withIP.IPAddresses = uris(t, "spiffe://x.example/envoy"), []net.IP{net.IPv4(192, 0, 2, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	common, past, longer := client(), client("envoy.internal"), client()
	common.Subject.CommonName = "envoy.internal"
	past.NotBefore, past.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	longer.URIs = uris(t, "spiffe://x.example/envoy/more")
	for name, c := range map[string]struct {
		by   *authority
		cert *x509.Certificate // nil: none
		ok   bool
	}{
		"a DNS name":                       {own, client("other.example", "envoy.internal"), true},
		"a URI":                            {own, spiffe, true},
		"an address":                       {own, withIP, true},
		"no certificate":                   {own, nil, false},
		"another authority's":              {other, client("envoy.internal"), false},
		"for another name":                 {own, client("envoy.internal.example"), false},
		"for a longer URI":                 {own, longer, false},
		"for a wildcard":                   {own, client("*.internal"), false},
		"for an address as DNS name":       {own, client("192.0.2.1"), false},
		"a name in the common name":        {own, common, false},
		"a server's, not for clients":      {own, server, false},
		"past its end":                     {own, past, false},
		"without any name":                 {own, client(), false},
		"a name of the Unix socket's kind": {own, client("unix"), false},
	} {
		t.Run(name, func(t *testing.T) {
			roots := x509.NewCertPool()
			roots.AddCert(own.cert)
			cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
			if c.cert != nil {
				cert := c.by.sign("peer", c.cert)
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
			}
			if got := answered(t, address, credentials.NewTLS(cfg)); got != c.ok {
				t.Errorf("answered: %v", got)
			}
		})
	}
	if answered(t, address, insecure.NewCredentials()) {
		t.Error("a peer without TLS got an answer")
	}
	if n := series(t, reg, "tokenward_peers_refused_total", ""); n < 12 {
		t.Errorf("%v refused peers are counted", n)
	}
	if n := logs.FilterMessageSnippet("refused a connection").Len(); n != 1 {
		t.Errorf("%d refusals are logged within seconds", n)
	}
}

func TestAConnectionThatEndsBeforeItSaysAnythingIsNoRefusedPeer(t *testing.T) {
	own := newAuthority(t)
	address, reg, _ := guardedServer(t, own, "envoy")
	for range 3 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	roots := x509.NewCertPool()
	roots.AddCert(own.cert)
	creds := credentials.NewTLS(&tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{own.sign("peer", client("envoy"))}, MinVersion: tls.VersionTLS12,
	})
	if !answered(t, address, creds) { // comes after them
		t.Error("Envoy gets no answer")
	}
	if n := series(t, reg, "tokenward_peers_refused_total", ""); n != 0 {
		t.Errorf("%v refused peers are counted", n)
	}
}

func TestTheServerItselfRefusesToGiveTokensToWhoeverComes(t *testing.T) {
	for address, c := range map[string]struct {
		cfg Config
		ok  bool
	}{
		"127.0.0.1:1":   {Config{}, false},
		"127.0.0.1:2":   {Config{InsecureLoopback: true}, true},
		"[::1]:2":       {Config{InsecureLoopback: true}, true},
		"127.0.0.1:3":   {Config{CertFile: "c", ClientCAFile: "a"}, false},
		"127.0.0.1:4":   {Config{CertFile: "c", ClientCAFile: "a", ClientSANs: []string{"x"}}, true},
		"192.0.2.1:1":   {Config{InsecureLoopback: true}, false},
		"0.0.0.0:1":     {Config{InsecureLoopback: true}, false},
		"[::]:1":        {Config{InsecureLoopback: true}, false},
		"192.0.2.1:2":   {Config{CertFile: "c"}, false},
		"192.0.2.1:3":   {Config{CertFile: "c", ClientCAFile: "a", ClientSANs: []string{"x"}}, true},
		"192.0.2.1:443": {Config{ClientCAFile: "a", ClientSANs: []string{"x"}}, false},
	} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.cfg.guarded(tcp); (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "client_ca_file") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestOnTheUnixSocketAreOurUserAndTheGroup(t *testing.T) {
	const none = -1
	for name, c := range map[string]struct {
		gid    int
		peer   unix.Ucred
		groups []uint32
		ok     bool
	}{
		"ourselves":                 {none, unix.Ucred{Uid: 7, Gid: 9}, nil, true},
		"somebody else":             {none, unix.Ucred{Uid: 8, Gid: 7}, []uint32{7}, false},
		"root":                      {none, unix.Ucred{Uid: 0, Gid: 0}, nil, false},
		"nobody's number":           {none, unix.Ucred{Uid: 1<<32 - 1, Gid: 1<<32 - 1}, []uint32{1<<32 - 1}, false},
		"of the group":              {5, unix.Ucred{Uid: 8, Gid: 5}, nil, true},
		"also of the group":         {5, unix.Ucred{Uid: 8, Gid: 8}, []uint32{4, 5}, true},
		"of other groups":           {5, unix.Ucred{Uid: 8, Gid: 8}, []uint32{4, 6}, false},
		"ourselves, with a group":   {5, unix.Ucred{Uid: 7, Gid: 8}, nil, true},
		"root, for root's group":    {0, unix.Ucred{Uid: 0, Gid: 0}, nil, true},
		"another, for root's group": {0, unix.Ucred{Uid: 8, Gid: 8}, []uint32{8}, false},
	} {
		if got := (users{7, c.gid}).match(&c.peer, c.groups); got != c.ok {
			t.Errorf("%s: admitted %v", name, got)
		}
	}
}

func TestTheSocketBelongsToWhoMayConnect(t *testing.T) {
	gid := os.Getegid()
	for name, c := range map[string]struct {
		gid          *int
		file, folder os.FileMode
	}{"our user alone": {nil, 0o600, 0o700}, "a group": {&gid, 0o660, 0o710}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(short(t), "d", "socket")
			l, err := NewSocket(Config{Listen: "unix:" + path, SocketGID: c.gid}, zap.NewNop()).listen(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			for p, want := range map[string]os.FileMode{path: c.file, filepath.Dir(path): c.folder} {
				if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
					t.Errorf("%s: %v, %v", p, st.Mode(), err)
				}
			}
		})
	}
}
