// Package destination tells where a secret may be sent. It looks at addresses alone and asks nobody.
package destination

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Confidential parses a URL that secrets are sent to, and reports whether they may be: https, or http to this machine,
// and no user in the URL itself.
func Confidential(address string) (*url.URL, bool) {
	u, err := url.Parse(address)
	ok := err == nil && u.Hostname() != "" && ValidPort(u) && u.User == nil &&
		(u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname()))
	return u, ok
}

// ValidPort reports whether the URL's port is none, or one that can be called.
func ValidPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

// Loopback reports whether a host, without port and brackets, is this machine, for this machine only.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// WithoutSecrets hides what may be a secret in a URL: the user in front of @, and the query.
func WithoutSecrets(address string) string {
	address, _, query := strings.Cut(address, "?")
	if at := strings.LastIndex(address, "@"); at >= 0 {
		scheme := ""
		if before, _, found := strings.Cut(address[:at], "://"); found {
			scheme = before + "://"
		}
		address = scheme + "[hidden]" + address[at:]
	}
	if query {
		address += "?[hidden]"
	}
	return address
}
