//go:build !race

package simulation

const (
	defaultFaults = 50_000
	twice         = 40 // of the fixed seeds are played twice, and come to the same
)
