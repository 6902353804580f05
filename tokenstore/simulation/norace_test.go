//go:build !race

package simulation

const defaultFaults = 50_000
