//go:build race

package simulation

// defaultFaults with the race detector, which makes them eight times as dear and has goroutines run in any order: all
// else runs without it.
const defaultFaults = 2_000
