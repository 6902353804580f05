//go:build race

package simulation

// With the race detector all is eight times as dear: the full numbers run without it.
const (
	defaultFaults = 2_000
	twice         = 4
)
