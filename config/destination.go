package config

import (
	"net/url"

	"github.com/tokenward/tokenward/destination"
)

const noProvider = "is an address of this machine's network or cloud itself, where no provider is"

// checkDestination keeps tokens from going where anybody can read them.
func (k *checker) checkDestination(up Upstream, path string, u *url.URL) {
	host := u.Hostname()
	switch {
	case destination.LinkLocal(host):
		k.bad(path, up.URL, noProvider, "give the host of the provider")
	case u.Scheme == "http" && !up.Plaintext && !destination.Loopback(host):
		k.bad(path, up.URL, "would send tokens in the clear to another machine",
			"use https, or say plaintext: true if nobody can listen on the way")
	}
}
