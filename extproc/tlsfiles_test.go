package extproc

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tlsfile/tlsfiletest"
	"github.com/tokenward/tokenward/tokenstore"
)

// reread serves over TCP what the files of two folders hold, to clients with a certificate for "envoy".
func reread(t *testing.T, pair, ca string, files *tlsfile.Files) (address string) {
	t.Helper()
	cfg := Config{
		Listen: "tcp://127.0.0.1:0", CertFile: filepath.Join(pair, "tls.crt"), KeyFile: filepath.Join(pair, "tls.key"),
		ClientCAFile: filepath.Join(ca, "ca.crt"), ClientSANs: []string{"envoy"}, TrailAge: time.Minute, Files: files,
	}
	log := zap.NewNop()
	s, err := New(cfg, NewSocket(cfg, log), &judge{action: tokenstore.Pass}, prometheus.NewRegistry(), log)
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s.listener.Addr().String()
}

// shown is the serial number of the certificate that the service shows to a client, "" if the client gets no pick.
func shown(t *testing.T, address string, own *tlsfiletest.Authority, c tls.Certificate) (serial string) {
	t.Helper()
	cfg := &tls.Config{
		RootCAs: own.Pool(), MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c},
		VerifyConnection: func(s tls.ConnectionState) error {
			serial = s.PeerCertificates[0].SerialNumber.String()
			return nil
		},
	}
	if !answered(t, address, credentials.NewTLS(cfg)) {
		return ""
	}
	return serial
}

func contents(c tlsfiletest.Certificate) tlsfiletest.Contents {
	return tlsfiletest.Contents{"tls.crt": c.Cert, "tls.key": c.Key}
}

func TestEnvoyIsShownTheCertificateThatTheFilesHold(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	peer := own.Sign("envoy").TLS()
	next := func(from, to time.Time) (tlsfiletest.Contents, string) {
		c := own.SignFor("tokenward", from, to)
		return contents(c), c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		address := reread(t, dir, tlsfiletest.Change{}.Begin(t, tlsfiletest.Contents{"ca.crt": own.PEM()}), files)
		return func() string { return shown(t, address, own, peer) }
	})
}

func TestEnvoyIsLetInByTheAuthorityThatTheFileHolds(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	held := own.Sign("tokenward")
	peers := map[string]tls.Certificate{}
	next := func(time.Time, time.Time) (tlsfiletest.Contents, string) {
		a := tlsfiletest.NewAuthority(t)
		c := a.Sign("envoy")
		peers[c.Serial] = c.TLS()
		return tlsfiletest.Contents{"ca.crt": a.PEM()}, c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		address := reread(t, tlsfiletest.Change{}.Begin(t, contents(held)), dir, files)
		return func() (in string) {
			for serial, c := range peers {
				if shown(t, address, own, c) == held.Serial {
					in += serial
				}
			}
			return in
		}
	}, tlsfiletest.Change.Timed)
}

// A connection that stands is Envoy's way to tokens: it must not break because files change.
func TestAConnectionThatStandsOutlivesAChange(t *testing.T) {
	own, files := tlsfiletest.NewAuthority(t), tlsfile.New(zap.NewNop())
	pair := tlsfiletest.Change{}.Begin(t, contents(own.Sign("tokenward")))
	address := reread(t, pair, tlsfiletest.Change{}.Begin(t, tlsfiletest.Contents{"ca.crt": own.PEM()}), files)
	handshakes := 0
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: own.Pool(), MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own.Sign("envoy").TLS()},
		VerifyConnection: func(tls.ConnectionState) error { handshakes++; return nil },
	})))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	pick := func() {
		t.Helper()
		st, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context())
		if err == nil {
			_ = st.Send(message("x-tokenward-route", "r")) // Recv says what is wrong
			_, err = st.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	pick()
	tlsfiletest.Change{}.Mend(t, pair, contents(own.Sign("tokenward")))
	files.Look()
	pick()
	if handshakes != 1 {
		t.Errorf("%d handshakes", handshakes)
	}
}
