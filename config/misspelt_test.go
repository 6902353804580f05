package config

import (
	"strings"
	"testing"
)

// Every place that names something else, with a name that is one slip away.
func TestAMisspeltReferenceIsBlamedWhereItStandsAndTheRightOneProposed(t *testing.T) {
	const good = `providers:
  my-idp: { driver: oauth2, token_url: https://idp.example/token }
  work: { driver: anthropic }
pools:
  main: { provider: my-idp }
  spare: { provider: anthropic }
  work: {}
upstreams:
  eu: { url: https://eu.example, pool: main }
  us: { url: https://us.example, pool: spare }
  work: {}
  anthropic: {}
routes:
  all:
    upstreams:
      - eu
      - us
      - work
      - anthropic
`
	mustLoad(t, good)
	for name, c := range map[string]struct{ from, to, want string }{
		"upstream of a route": {
			"- eu", "- ue",
			`tokenward.yaml:16: routes.all.upstreams[0]: "ue": names no upstream; did you mean eu?`,
		},
		"upstream of a route that is a driver": {
			"- anthropic", "- antropic",
			`tokenward.yaml:19: routes.all.upstreams[3]: "antropic": names no upstream; did you mean anthropic?`,
		},
		"pool of an upstream": {
			"pool: main", "pool: mian",
			`tokenward.yaml:9: upstreams.eu.pool: "mian": names no pool and no provider; did you mean main?`,
		},
		"pool of an upstream, in capitals": {
			"pool: main", "pool: Main",
			`upstreams.eu.pool: "Main": names no pool and no provider; did you mean main?`,
		},
		"pool of an upstream, nothing near": {
			"pool: main", "pool: sundries",
			`upstreams.eu.pool: "sundries": names no pool and no provider; add it under pools`,
		},
		"pool of an upstream, which is a provider": {
			"pool: main", "pool: my-ipd",
			`upstreams.eu.pool: "my-ipd": names no pool and no provider; did you mean my-idp?`,
		},
		"name of an upstream that stands for all": {
			"  anthropic: {}", "  anthropc: {}",
			`tokenward.yaml:12: upstreams.anthropc.pool: is not given, and no pool or provider is called anthropc; did you mean anthropic?`,
		},
		"provider of a pool": {
			"provider: my-idp", "provider: my-ipd",
			`tokenward.yaml:5: pools.main.provider: "my-ipd": names no provider and no driver; did you mean my-idp?`,
		},
		"provider of a pool, which is a driver": {
			"provider: anthropic", "provider: antrophic",
			`pools.spare.provider: "antrophic": names no provider and no driver; did you mean anthropic?`,
		},
		"name of a pool that stands for a provider": {
			"  work: {}\nupstreams", "  wor: {}\nupstreams",
			`tokenward.yaml:7: pools.wor.provider: is not given, and no provider or driver is called wor; did you mean work?`,
		},
		"driver": {
			"driver: anthropic", "driver: anthropics",
			`tokenward.yaml:3: providers.work.driver: "anthropics": is no driver; did you mean anthropic?`,
		},
		"key": {"token_url", "tokenUrl", `tokenward.yaml:2: providers.my-idp.tokenUrl: is no key of the configuration; did you mean token_url?`},
		"section": {
			"upstreams:\n  eu", "upstream:\n  eu",
			`tokenward.yaml:8: upstream: is no key of the configuration; did you mean upstreams?`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, strings.Replace(good, c.from, c.to, 1), noEnvironment)
			if err == nil || !strings.Contains(err.Error()+"\n", c.want+"\n") {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
			if err != nil && !strings.Contains(name, "section") && !strings.Contains(name, "key") &&
				strings.Contains(err.Error(), "\n") {
				t.Errorf("one slip, several problems:\n%v", err)
			}
		})
	}
}

func TestAddressesThatOverlapAreSeenBeforeSomethingFailsToListen(t *testing.T) {
	const open = "clients: { anonymous: always }\n"
	for _, text := range []string{
		"envoy: { listen: 'localhost:9901', admin: '127.0.0.1:9901' }",
		open + "envoy: { listen: '0.0.0.0:8980' }",
		open + "envoy: { listen: ':8980' }",
		open + "envoy: { listen: '[::]:8980' }",
		"extproc: { listen: 'tcp://127.0.0.1:10000' }",
		"admin: { listen: '127.0.0.1:08980' }\nenvoy: { listen: '127.0.0.1:8980' }",
	} {
		refusedWith(t, text, "is already used by")
	}
	for _, text := range []string{"envoy: { listen: '127.0.0.1:0' }", "envoy: { admin: '127.0.0.1:00' }"} {
		refusedWith(t, text, "must name a port")
	}
	mustLoad(t, smallest+"envoy: { listen: '[::1]:8980' }")
	mustLoad(t, smallest+"envoy: { listen: '127.0.0.2:8980' }")
}
