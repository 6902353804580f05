package tlsfile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// wrong is the error for files that cannot be used.
func wrong(name string, err error) error {
	remedy := "give PEM files that this user can read"
	if _, ok := errors.AsType[*endedError](err); ok {
		remedy = "renew it, and look at this machine's clock"
	}
	return fmt.Errorf("loading %s: %w: %s", name, err, remedy)
}

// Pair loads a certificate with its chain, and its key.
func (f *Files) Pair(name, certFile, keyFile string) (*Value[*tls.Certificate], error) {
	return load(f, &Value[*tls.Certificate]{
		name: name, paths: []string{certFile, keyFile}, usable: inForce,
		parse: func(contents [][]byte) (*tls.Certificate, error) {
			pair, err := tls.X509KeyPair(contents[0], contents[1])
			if err != nil {
				return nil, fmt.Errorf("%s and %s are no pair: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
			}
			return &pair, nil
		},
		ends: func(c *tls.Certificate) time.Time { return c.Leaf.NotAfter },
	})
}

// Roots loads the certificates of authorities. Without a file the value is nil, and stays so.
func (f *Files) Roots(name, file string) (*Value[*x509.CertPool], error) {
	v := &Value[*x509.CertPool]{name: name, paths: []string{file}, parse: func(contents [][]byte) (*x509.CertPool, error) {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(contents[0]) {
			return nil, fmt.Errorf("%s holds no certificate", file)
		}
		if cutOff(contents[0]) {
			return nil, fmt.Errorf("%s is cut off", file)
		}
		return pool, nil
	}}
	if file == "" {
		v.current.Store(new(*x509.CertPool))
		return v, nil
	}
	return load(f, v)
}

// cutOff reports whether a PEM document ends within a block.
func cutOff(data []byte) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(data) {
		data = rest
	}
	return bytes.Contains(data, []byte("-----BEGIN "))
}

// endedError is a certificate that nobody accepts now.
type endedError struct{ said string }

func (e *endedError) Error() string { return e.said }

// inForce refuses a certificate outside of its time, in which the one in use may well be.
func inForce(c *tls.Certificate) error {
	now := time.Now()
	switch from, to := c.Leaf.NotBefore, c.Leaf.NotAfter; {
	case now.After(to):
		return &endedError{"the certificate ended at " + to.UTC().Format(time.RFC3339)}
	case now.Before(from):
		return &endedError{"the certificate begins at " + from.UTC().Format(time.RFC3339)}
	}
	return nil
}
