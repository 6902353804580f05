//go:build !race

package simulation

const defaultFaults = 55_000
