package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
)

// Server is the TLS of a listener.
type Server struct {
	pair    *Value[*tls.Certificate]
	clients *Value[*x509.CertPool]
}

// Server loads the files of a listener. name is their section in the configuration; with clientCAFile clients must show
// a certificate of that authority.
func (f *Files) Server(name, certFile, keyFile, clientCAFile string) (*Server, error) {
	pair, err := f.Pair(name, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	clients, err := f.Roots(name+".client_ca_file", clientCAFile)
	if err != nil {
		return nil, err
	}
	return &Server{pair, clients}, nil
}

// Config returns what a listener takes: for each connection it has what the files hold then. verify, if any, looks at
// each connection after that, at resumed ones too.
func (s *Server) Config(verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := &tls.Config{MinVersion: tls.VersionTLS12, VerifyConnection: verify}
			c.Certificates = []tls.Certificate{*s.pair.Get()}
			if roots := s.clients.Get(); roots != nil {
				c.ClientCAs, c.ClientAuth = roots, tls.RequireAndVerifyClientCert
			}
			return c, nil
		},
	}
}

// Leaf is the certificate that the listener shows.
func (s *Server) Leaf() *x509.Certificate { return s.pair.Get().Leaf }
