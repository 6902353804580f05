package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/destination"
)

func (k *checker) checkProviders() {
	for _, name := range slices.Sorted(maps.Keys(k.config.Providers)) {
		p, path := k.config.Providers[name], "providers."+name
		if !k.absent[name] && !k.isDriver(p.Driver) {
			k.bad(path+".driver", p.Driver, "is no driver",
				meant(p.Driver, k.known.Drivers, "use one of "+strings.Join(k.known.Drivers, ", ")))
			k.absent[name] = true
		}
		if key, rule := k.known.Needs(p); key != "" {
			k.bad(path+"."+key, "", rule, "")
		}
		if p.Proxy != "" && !proxyAddress(p.Proxy) {
			k.bad(path+".proxy", destination.WithoutSecrets(p.Proxy),
				"must be http://, https:// or socks5:// with HOST[:PORT]", "")
		}
		k.checkHeaders(p, path+".headers")
		if p.TokenURL != "" {
			shown := destination.WithoutSecrets(p.TokenURL)
			switch u, ok := destination.Confidential(p.TokenURL); {
			case !ok:
				k.bad(path+".token_url", shown, "must be an https URL without user", "http is only for loopback hosts")
			case disguised(u.Hostname()):
				k.bad(path+".token_url", shown, disguise, plainly)
			case linkLocal(u.Hostname()):
				k.bad(path+".token_url", shown, noProvider, "give the host of the authorization server")
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
			k.bad(path, "", "must be given: the provider has no usual URL", "")
			continue
		}
		u, err := url.Parse(up.URL)
		if err != nil || !hostAlone(u, "http", "https") || u.RawQuery != "" || u.User != nil {
			k.bad(path, destination.WithoutSecrets(up.URL), "must be http(s)://HOST[:PORT] without path, query and user",
				"the client's path goes through unchanged")
			continue
		}
		k.checkDestination(up, path, u)
	}
}

func proxyAddress(address string) bool {
	u, err := url.Parse(address)
	return err == nil && hostAlone(u, "http", "https", "socks5")
}

// hostAlone reports whether a URL has one of the schemes and a host, but no path.
func hostAlone(u *url.URL, schemes ...string) bool {
	return slices.Contains(schemes, u.Scheme) && u.Hostname() != "" && destination.ValidPort(u) &&
		strings.Trim(u.Path, "/") == ""
}

// clusterName has no blanks: it travels in a header to Envoy.
var clusterName = regexp.MustCompile(`^[!-~]{1,200}$`)

// checkCluster keeps two things from becoming one Envoy cluster. Upstreams that differ in their pools alone may share
// it.
func (k *checker) checkCluster(name string, u Upstream, taken map[string]string) {
	cluster, path := u.Cluster(name), "upstreams."+name
	if u.EnvoyCluster != "" {
		path += ".envoy_cluster"
	}
	const remedy = "choose another name, or give another envoy_cluster"
	if !clusterName.MatchString(cluster) {
		k.bad(path, cluster, "is no name of a cluster", "use printable characters without blanks")
	}
	if slices.Contains(k.known.Clusters, cluster) {
		k.bad(path, cluster, "is the name of a cluster of the gateway's own", remedy)
	}
	other, ok := taken[cluster]
	taken[cluster] = name
	if o := k.config.Upstreams[other]; ok && (o.URL != u.URL || o.CAFile != u.CAFile || o.Protocol != u.Protocol) {
		k.bad(path, cluster, "is the cluster of upstream "+other+" too, whose url, ca_file or protocol differs", remedy)
	}
}
