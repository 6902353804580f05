package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/destination"
)

const noProvider = "is an address of this machine's network or cloud itself, where no provider is"

// checkDestination keeps tokens from going where anybody can read them.
func (k *checker) checkDestination(up Upstream, path string, u *url.URL) {
	host := u.Hostname()
	switch {
	case linkLocal(host):
		k.bad(path, up.URL, noProvider, "give the host of the provider")
	case u.Scheme == "http" && !up.Plaintext && !destination.Loopback(host):
		k.bad(path, up.URL, "would send tokens in the clear to another machine",
			"use https, or say plaintext: true if nobody can listen on the way")
	}
}

// metadata are names and addresses of the services by which clouds tell a machine its secrets, besides link-local ones.
var metadata = []string{
	"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
	"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
}

// linkLocal reports an address that leads to no other host than a neighbour or the cloud's own services.
func linkLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	a, err := netip.ParseAddr(host)
	if err != nil {
		return slices.Contains(metadata, host)
	}
	a = a.Unmap().WithZone("")
	return a.IsLinkLocalUnicast() || a.IsMulticast() || slices.Contains(metadata, a.String())
}
