package extproc

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
)

// serverTLS asks peers for a certificate of the configured authority that carries one of the configured names.
func serverTLS(cfg Config) (*tls.Config, error) {
	s, err := cfg.Files.Server("extproc.tls", cfg.CertFile, cfg.KeyFile, cfg.ClientCAFile)
	if err != nil {
		return nil, err
	}
	if cfg.ClientCAFile == "" {
		return s.Config(nil), nil
	}
	return s.Config(func(s tls.ConnectionState) error { // also of a resumed session, unlike VerifyPeerCertificate
		if len(s.PeerCertificates) > 0 && carries(s.PeerCertificates[0], cfg.ClientSANs) {
			return nil
		}
		return &nameError{s.PeerCertificates, cfg.ClientSANs}
	}), nil
}

// carries reports whether a certificate is for one of the names: a URI, an IP address or a DNS name (RFC 5280 section
// 4.2.1.6), compared with names of its own kind alone. A wildcard in a certificate stands for itself.
func carries(cert *x509.Certificate, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		if strings.Contains(name, "://") {
			for _, u := range cert.URIs {
				if u.String() == name {
					return true
				}
			}
			return false
		}
		if ip := net.ParseIP(name); ip != nil {
			return slices.ContainsFunc(cert.IPAddresses, ip.Equal)
		}
		return slices.ContainsFunc(cert.DNSNames, func(have string) bool { return strings.EqualFold(have, name) })
	})
}

// nameError is a certificate of the right authority for somebody else.
type nameError struct {
	chain   []*x509.Certificate
	allowed []string
}

func (e *nameError) Error() string {
	var has []string
	if len(e.chain) > 0 {
		c := e.chain[0]
		has = append(has, c.DNSNames...)
		for _, u := range c.URIs {
			has = append(has, u.String())
		}
		for _, ip := range c.IPAddresses {
			has = append(has, ip.String())
		}
	}
	return fmt.Sprintf("the peer's certificate is for %.200q, and extproc.tls.client_san names %.200q", has, e.allowed)
}
