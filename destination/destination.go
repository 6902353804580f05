// Package destination tells where a secret may be sent. It looks at addresses alone and asks nobody.
package destination

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
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

// metadata are names and addresses of the services by which clouds tell a machine its secrets, besides link-local ones.
var metadata = []string{
	"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
	"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
}

// LinkLocal reports a host that leads nowhere but to a neighbour or to the cloud's own services.
func LinkLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	a, err := netip.ParseAddr(host)
	if err != nil {
		return slices.Contains(metadata, host)
	}
	a = a.Unmap().WithZone("")
	return a.IsLinkLocalUnicast() || a.IsMulticast() || slices.Contains(metadata, a.String())
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
