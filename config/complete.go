package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// complete applies the rule that things which share a name need not be spelled out.
func (k *checker) complete() {
	k.completeRoutes()
	k.completeUpstreams()
	k.completePools()
	c := k.config
	if k.values["admin.metrics_auth"] == nil {
		c.Admin.MetricsAuth = c.Admin.Exposed()
	}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		p := c.Providers[name]
		if p.Driver == "" {
			p.Driver = name
			if !k.isDriver(name) && !k.absent[name] {
				k.bad("providers."+name+".driver", "",
					"is not given, and no driver is called "+name, "give one of "+strings.Join(k.known.Drivers, ", "))
				k.absent[name] = true
			}
		}
		c.Providers[name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u := c.Upstreams[name]
		if u.URL == "" {
			u.URL = k.known.DefaultURL(k.driverOf(u))
		}
		c.Upstreams[name] = u
	}
}

func (k *checker) isDriver(name string) bool { return slices.Contains(k.known.Drivers, name) }

func (k *checker) driverOf(u Upstream) string {
	return k.config.Providers[k.config.Pools[u.Pool].Provider].Driver
}

func (k *checker) completeRoutes() {
	c := k.config
	for _, r := range c.Routes {
		for i, h := range r.Hosts {
			r.Hosts[i] = strings.ToLower(h) // as Envoy compares them
		}
		for i, name := range r.Upstreams {
			if _, ok := c.Upstreams[name]; ok {
				continue
			}
			if !k.reachable(name) {
				known := slices.Concat(
					slices.Collect(maps.Keys(c.Upstreams)),
					slices.DeleteFunc(k.providersAndPools(), func(n string) bool { return !k.reachable(n) }),
				)
				k.bad(fmt.Sprintf("routes.%s.upstreams[%d]", r.Name, i), name,
					"names no upstream", meant(name, known, "add it under upstreams"))
				continue
			}
			c.Upstreams[name] = fresh(k.reader, (*Upstream).keys)
			k.implied["upstreams."+name] = "routes." + r.Name
		}
	}
}

func (k *checker) completeUpstreams() {
	c := k.config
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u, path := c.Upstreams[name], "upstreams."+name+".pool"
		given := u.Pool != ""
		if !given {
			u.Pool = name
		}
		c.Upstreams[name] = u
		if _, ok := c.Pools[u.Pool]; ok {
			continue
		}
		switch known := k.providersAndPools(); {
		case slices.Contains(known, u.Pool):
		case given:
			k.bad(path, u.Pool,
				"names no pool and no provider", meant(u.Pool, known, "add it under pools"))
			k.absent[u.Pool] = true
		default:
			k.bad(path, "",
				"is not given, and no pool or provider is called "+name,
				meant(name, known, "give it, or add the pool "+name+" under pools"))
			k.absent[u.Pool] = true
		}
		c.Pools[u.Pool] = fresh(k.reader, (*Pool).keys)
		k.implied["pools."+u.Pool] = "upstreams." + name
	}
}

func (k *checker) completePools() {
	c := k.config
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		p, path := c.Pools[name], "pools."+name+".provider"
		given := p.Provider != ""
		if !given {
			p.Provider = name
		}
		c.Pools[name] = p
		if _, ok := c.Providers[p.Provider]; ok {
			continue
		}
		known := slices.Concat(slices.Collect(maps.Keys(c.Providers)), k.known.Drivers)
		add := "add it under providers; drivers are " + strings.Join(k.known.Drivers, ", ")
		switch {
		case k.absent[p.Provider]:
		case k.isDriver(p.Provider):
		case given:
			k.bad(path, p.Provider, "names no provider and no driver", meant(p.Provider, known, add))
			k.absent[p.Provider] = true
		default:
			k.bad(path, "",
				"is not given, and no provider or driver is called "+name, meant(name, known, "give it, or "+add))
			k.absent[p.Provider] = true
		}
		c.Providers[p.Provider] = fresh(k.reader, (*Provider).keys)
		k.implied["providers."+p.Provider] = "pools." + name
	}
}

// providersAndPools are the names that a pool may have without an entry of its own, and those of the pools that have
// one.
func (k *checker) providersAndPools() []string {
	return slices.Concat(
		slices.Collect(maps.Keys(k.config.Pools)),
		slices.Collect(maps.Keys(k.config.Providers)),
		k.known.Drivers,
	)
}

// reachable reports whether an upstream that is only named leads to a provider with a usual URL.
func (k *checker) reachable(name string) bool {
	provider := name
	if p, ok := k.config.Pools[name]; ok && p.Provider != "" {
		provider = p.Provider
	}
	driver := provider
	if p, ok := k.config.Providers[provider]; ok && p.Driver != "" {
		driver = p.Driver
	}
	return k.known.DefaultURL(driver) != ""
}
