package main

import (
	"testing"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/envoy"
)

func TestTheBoundsAreToldInOneSentence(t *testing.T) {
	for want, c := range map[string]envoy.Config{
		"Envoy: at most 8192 connections and 16384 requests at once, 1024 MiB of memory; " +
			"at most 16 bodies larger than 8 MiB at once, 512 MiB for bodies kept for retries": {MaxHeap: 1 << 30, MaxConnections: 8192, RetryBodyLimit: 32 << 20},
		"Envoy: at most 100 connections and 16384 requests at once, 256 MiB of memory; " +
			"at most 128 bodies larger than 256 KiB at once, 128 MiB for bodies kept for retries": {MaxHeap: 256 << 20, MaxConnections: 100, RetryBodyLimit: 1 << 20},
		"Envoy: at most 100 connections and 16384 requests at once, 256 MiB of memory; no body is kept for retries": {MaxHeap: 256 << 20, MaxConnections: 100},
	} {
		if got := describe(c.Bounds()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAConnectionNeedsTwoFiles(t *testing.T) {
	for files, want := range map[uint64]int{0: 16, 100: 16, 1024: 384, 20_000: 9872, 1 << 63: 1 << 30} {
		if got := most(files); got != want {
			t.Errorf("%d files: %d clients, want %d", files, got, want)
		}
	}
}

// TestTheConfigurationStaysWhatItsFileSays: SIGHUP compares with it, and would call for a restart that changes nothing.
func TestTheConfigurationStaysWhatItsFileSays(t *testing.T) {
	const want = 1<<30 + 1 // more than any limit
	c := &config.Config{Envoy: config.Envoy{MaxConnections: want}}
	fitting, warning := fitConnections(c)
	if given, fits := c.Envoy.MaxConnections, fitting.Envoy.MaxConnections; given != want || fits >= want ||
		warning == "" {
		t.Errorf("%d connections became %d, for Envoy %d: %q", want, given, fits, warning)
	}
}
