package tlsfile

import (
	"crypto/x509"
	"net/http"
	"sync/atomic"
)

// Transport is an http.RoundTripper that trusts what a file of authorities holds at the time of a request. Connections
// that were made with other authorities serve no new requests.
type Transport struct {
	roots   *Value[*x509.CertPool]
	build   func(*x509.CertPool) *http.Transport
	current atomic.Pointer[built]
}

type built struct {
	roots     *x509.CertPool
	transport *http.Transport
}

// NewTransport returns a Transport over what build makes for authorities; nil: the system's.
func NewTransport(roots *Value[*x509.CertPool], build func(*x509.CertPool) *http.Transport) *Transport {
	return &Transport{roots: roots, build: build}
}

func (t *Transport) now() *http.Transport {
	for {
		was, roots := t.current.Load(), t.roots.Get()
		if was != nil && was.roots == roots {
			return was.transport
		}
		next := &built{roots, t.build(roots)}
		if t.current.CompareAndSwap(was, next) {
			if was != nil {
				was.transport.CloseIdleConnections()
			}
			return next.transport
		}
	}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.now().RoundTrip(r) }

// CloseIdleConnections closes what is open and not in use; http.Client calls it.
func (t *Transport) CloseIdleConnections() { t.now().CloseIdleConnections() }
