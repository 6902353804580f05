package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// longestSocketPath is sun_path's size without its NUL (unix(7)), in bytes.
const longestSocketPath = 107

// temporarySocket stands for the name, in the same folder, under which the server binds before it renames: . and a
// process id.
const temporarySocket = ".4194304"

// checkFiles looks at what the configuration names on this machine. The paths are absolute by now.
func (k *checker) checkFiles() {
	c := k.config
	pairs := map[string]TLS{"extproc.tls": c.ExtProc.TLS, "admin.tls": c.Admin.TLS, "envoy.tls": c.Envoy.TLS}
	for _, path := range slices.Sorted(maps.Keys(pairs)) {
		t := pairs[path]
		k.pair(path, "cert_file", "key_file", t.CertFile, t.KeyFile)
		k.authority(path+".client_ca_file", t.ClientCAFile)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		k.authority("providers."+name+".ca_file", c.Providers[name].CAFile)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		k.authority("upstreams."+name+".ca_file", c.Upstreams[name].CAFile)
	}
	if e := c.ExtProc; present(e.EnvoyCertFile) && present(e.EnvoyKeyFile) { // they may be on Envoy's machine alone
		k.pair("extproc.tls", "envoy_cert_file", "envoy_key_file", e.EnvoyCertFile, e.EnvoyKeyFile)
	}
	if present(c.ExtProc.ServerCAFile) {
		k.authority("extproc.tls.server_ca_file", c.ExtProc.ServerCAFile)
	}
	if path, ok := strings.CutPrefix(c.ExtProc.Listen, "unix:"); ok {
		if n := max(len(path), len(filepath.Join(filepath.Dir(path), temporarySocket))); n > longestSocketPath {
			k.bad("extproc.listen", c.ExtProc.Listen,
				fmt.Sprintf("is %d bytes too long for a Unix socket", n-longestSocketPath),
				"use a shorter path, e.g. unix:/run/tokenward/extproc.sock")
		}
	}
}

// present reports whether a file is on this machine.
func present(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// pair checks a certificate and its key.
func (k *checker) pair(path, certKey, keyKey, certFile, keyFile string) {
	cert, key := k.readable(path+"."+certKey, certFile), k.readable(path+"."+keyKey, keyFile)
	if cert == nil || key == nil {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		k.bad(path, "", certKey+" and "+keyKey+" are no pair of PEM files: "+strings.TrimPrefix(err.Error(), "tls: "),
			"give the chain's and its private key's file")
	}
}

// readable returns the content of a file that must be there; nil when none is named.
func (k *checker) readable(path, file string) []byte {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		k.bad(path, file, "cannot be read: "+reason(err), "give a file that this user can read")
		return nil
	}
	return data
}

func (k *checker) authority(path, file string) {
	if data := k.readable(path, file); data != nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		k.bad(path, file, "holds no certificate", "give a PEM file")
	}
}

// reason is an error without the path, which the message shows already.
func reason(err error) string {
	s := err.Error()
	return s[strings.LastIndex(s, ": ")+1+1:]
}
