// Package tlsfiletest has what tests of TLS files need: an authority that signs, and every way in which files change.
package tlsfiletest
