package integration

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// renewed signs the service's certificate anew.
func renewed(t *testing.T, own *signer) {
	t.Helper()
	own.sign(t, "service", &x509.Certificate{
		DNSNames: []string{"tokenward.internal"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 2)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// shownTo is the serial number of the certificate that a peer is shown, "" if it is turned away.
func shownTo(t *testing.T, own *signer, address, name string) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(own.folder, name+".crt"), filepath.Join(own.folder, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(own.cert)
	d := tls.Dialer{Config: &tls.Config{
		RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{cert},
	}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestARenewedCertificateIsServedWithoutARestart(t *testing.T) {
	address := besidePort(t)
	own, _, section := mutual(t, address, "")
	g := startWith(t, func(o *Options) { o.Renewal = section }, one)
	served(t, g.post(t, ""), "")
	first := shownTo(t, own, address, "envoy")
	renewed(t, own)
	eventually(t, 20*time.Second, "the new certificate is shown", func() bool {
		now := shownTo(t, own, address, "envoy")
		return now != "" && now != first
	})
	served(t, g.post(t, ""), "") // Envoy's connections stand
	second := shownTo(t, own, address, "envoy")
	put(t, filepath.Join(own.folder, "service.key"), "half a key")
	eventually(t, 20*time.Second, "it is told", func() bool {
		return strings.Contains(g.metrics(t), `tokenward_tls_files_rejected{files="extproc.tls"} 1`)
	})
	expect(t, "the certificate", shownTo(t, own, address, "envoy"), second)
	served(t, g.post(t, ""), "")
}
