package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/tokenstore/provider"
)

// urls are where a gateway of this machine answers.
type urls struct{ gateway, page, try string }

func urlsOf(c *config.Config) urls {
	at := func(listen string, tls config.TLS) string {
		if tls.CertFile != "" {
			return "https://" + callable(listen)
		}
		return "http://" + callable(listen)
	}
	u := urls{gateway: at(c.Envoy.Listen, c.Envoy.TLS), page: at(c.Admin.Listen, c.Admin.TLS)}
	u.try = tryLine(c, u.gateway)
	return u
}

// tryLine is a request that spends nothing: the list of models, where the first route leads to it.
func tryLine(c *config.Config, gateway string) string {
	r := c.Routes[0]
	words := []string{"curl", "-i"}
	for _, header := range provider.Asks(c.Providers[c.Pools[c.Upstreams[r.Upstreams[0]].Pool].Provider].Driver) {
		words = append(words, "-H '"+header+"'")
	}
	if !slices.Contains(r.Hosts, "*") {
		words = append(words, "-H 'Host: "+strings.ReplaceAll(r.Hosts[0], "*", "any")+"'")
	}
	path := r.Prefix
	if strings.HasPrefix("/v1/", path) {
		path = "/v1/models"
	}
	return strings.Join(append(words, gateway+path), " ")
}

// print tells somebody at a terminal what runs now, and what is wrong with it.
func (u urls) print(out io.Writer, tokenFile string, wrong []string) {
	page := u.page
	if token, err := os.ReadFile(tokenFile); err == nil { // a terminal is no log
		page += "/#token=" + strings.TrimSpace(string(token))
	}
	fmt.Fprintf(out, "\ngateway  %s\npage     %s\ntry      %s\n", u.gateway, page, u.try)
	for _, why := range slices.Compact(wrong) {
		fmt.Fprintf(out, "note     %s\n", why)
	}
	fmt.Fprint(out, "\nCtrl-C stops everything.\n\n")
}
