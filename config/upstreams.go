package config

import (
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (k *checker) checkProviders() {
	for _, name := range slices.Sorted(maps.Keys(k.config.Providers)) {
		p, path := k.config.Providers[name], "providers."+name
		if !k.absent[name] && !k.known.has(p.Driver) {
			k.bad(p.line, path+".driver", p.Driver, "is no driver", meant(p.Driver, k.known.Drivers, "use one of "+strings.Join(k.known.Drivers, ", ")))
			k.absent[name] = true
		}
		if p.Driver == "oauth2" && p.TokenURL == "" {
			k.bad(p.line, path+".token_url", "", "must be given for the oauth2 driver", "")
		}
		if p.Proxy != "" {
			u, err := url.Parse(p.Proxy)
			if err != nil || u.Hostname() == "" || !validPort(u) || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) || strings.Trim(u.Path, "/") != "" {
				k.bad(p.line, path+".proxy", withoutSecrets(p.Proxy), "must be http://, https:// or socks5:// with HOST[:PORT]", "")
			}
		}
		k.checkHeaders(p, path+".headers")
		if p.TokenURL != "" {
			switch u, ok := confidential(p.TokenURL); {
			case !ok:
				k.bad(p.line, path+".token_url", withoutSecrets(p.TokenURL), "must be an https URL without user", "http is only for loopback hosts")
			case disguised(u.Hostname()):
				k.bad(p.line, path+".token_url", withoutSecrets(p.TokenURL), disguise, plainly)
			case linkLocal(u.Hostname()):
				k.bad(p.line, path+".token_url", withoutSecrets(p.TokenURL), noProvider, "give the host of the authorization server")
			}
		}
	}
}

func (k *checker) checkUpstreams() {
	clusters := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(k.config.Upstreams)) {
		up, path := k.config.Upstreams[name], "upstreams."+name+".url"
		k.checkCluster(name, up, clusters)
		if up.URL == "" && k.absent[k.config.Pools[up.Pool].Provider] {
			continue // what the file names instead is reported already
		}
		if up.URL == "" {
			k.bad(up.line, path, "", "must be given: the provider has no usual URL", "")
			continue
		}
		u, err := url.Parse(up.URL)
		if err != nil || u.Hostname() == "" || !validPort(u) || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			k.bad(up.line, path, withoutSecrets(up.URL), "must be http(s)://HOST[:PORT] without path, query and user", "the client's path goes through unchanged")
			continue
		}
		k.checkDestination(up, path, u)
	}
}

// clusterName has no blanks: it travels in a header to Envoy.
var clusterName = regexp.MustCompile(`^[!-~]{1,200}$`)

// checkCluster keeps two things from becoming one Envoy cluster. Upstreams that differ in their pools alone may share it.
func (k *checker) checkCluster(name string, u Upstream, taken map[string]string) {
	cluster, path := u.Cluster(name), "upstreams."+name
	if u.EnvoyCluster != "" {
		path += ".envoy_cluster"
	}
	const remedy = "choose another name, or give another envoy_cluster"
	if !clusterName.MatchString(cluster) {
		k.bad(u.line, path, cluster, "is no name of a cluster", "use printable characters without blanks")
	}
	if slices.Contains(k.known.Clusters, cluster) {
		k.bad(u.line, path, cluster, "is the name of a cluster of the gateway's own", remedy)
	}
	other, ok := taken[cluster]
	taken[cluster] = name
	if o := k.config.Upstreams[other]; ok && (o.URL != u.URL || o.CAFile != u.CAFile || o.Protocol != u.Protocol) {
		k.bad(u.line, path, cluster, "is the cluster of upstream "+other+" too, whose url, ca_file or protocol differs", remedy)
	}
}

func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

// confidential parses a URL that secrets are sent to, and reports whether they may be: https, or http to this machine, and no
// user in the URL itself.
func confidential(address string) (*url.URL, bool) {
	u, err := url.Parse(address)
	ok := err == nil && u.Hostname() != "" && validPort(u) && u.User == nil &&
		(u.Scheme == "https" || u.Scheme == "http" && loopback(net.JoinHostPort(u.Hostname(), "0")))
	return u, ok
}
