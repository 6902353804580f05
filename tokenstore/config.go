package tokenstore

import "github.com/tokenward/tokenward/tokenstore/rotation"

// Config is what the domain needs of the configuration. It is validated by the caller: names refer to entries that
// exist.
type Config struct {
	Routes    map[string]RouteConfig
	Upstreams map[string]UpstreamConfig
	Pools     map[string]PoolConfig
	Drivers   map[string]Driver // by provider name
	Renewal   rotation.RenewalConfig
	// Journal keeps rotations that the backend has not taken yet; nil: they live in memory only.
	Journal rotation.Journal
	// WaitForStore: Start does not fail while the backend is away; the store gets ready when it is back.
	WaitForStore bool
	// Holder names this process in claims; unique per process start.
	Holder string
	// Random draws from [0,1) for jitter and choices; nil: at random. A simulation replays with its own.
	Random func() float64
}
