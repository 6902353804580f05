package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/tokenward/tokenward/destination"
)

const (
	noProvider = "is an address of this machine's network or cloud itself, where no provider is"
	disguise   = "spells an address in a form that programs read in different ways"
	plainly    = "give the host's name, or the address as four numbers like 192.0.2.7, or as IPv6 in brackets"
)

// checkDestination keeps tokens from going where anybody can read them.
func (k *checker) checkDestination(up Upstream, path string, u *url.URL) {
	host := u.Hostname()
	switch {
	case disguised(host):
		k.bad(path, up.URL, disguise, plainly)
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

// disguised reports a host that ends in a number (WHATWG URL standard, ends-in-a-number checker) and is not four
// decimal ones: some programs take 2852039166, 0xa9fe.43518 and 0251.0376.0251.0376 for 169.254.169.254, others for a
// name.
func disguised(host string) bool {
	host = asAsked(host)
	_, err := netip.ParseAddr(host)
	return err != nil && number.MatchString(host[strings.LastIndexByte(host, '.')+1:])
}

var number = regexp.MustCompile(`^(?:[0-9]+|0x[0-9a-f]*)$`)

// linkLocal reports an address that leads to no other host than a neighbour or the cloud's own services.
func linkLocal(host string) bool {
	host = asAsked(host)
	a, err := netip.ParseAddr(host)
	if err != nil {
		return slices.Contains(metadata, host)
	}
	a = carried(a.Unmap().WithZone(""))
	return a.IsLinkLocalUnicast() || a.IsMulticast() || slices.Contains(metadata, a.String())
}

// asAsked is the name that is looked up for a host: our own client maps letters and digits that only look like ASCII's.
func asAsked(host string) string {
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// carrying are prefixes of IPv6 addresses that lead to the IPv4 address which stands in them at an offset in bytes:
// IPv4-compatible (RFC 4291 section 2.5.5.1), translated (RFC 2765, RFC 6052) and 6to4 (RFC 3056).
var carrying = map[netip.Prefix]int{
	netip.MustParsePrefix("::/96"): 12, netip.MustParsePrefix("::ffff:0:0:0/96"): 12,
	netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2,
}

// carried is the IPv4 address that an IPv6 address leads to, or the address itself.
func carried(a netip.Addr) netip.Addr {
	for p, at := range carrying {
		if p.Contains(a) {
			six := a.As16()
			return netip.AddrFrom4([4]byte(six[at : at+4]))
		}
	}
	return a
}
