//go:build race

package simulation

// defaultFaults with the race detector, which makes them eight times as dear: the others run without it.
const defaultFaults = 2_000
