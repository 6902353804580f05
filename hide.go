package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hideMemory keeps the tokens in this process's memory from the disk and from other processes of the same user: no core
// dump, neither ours nor Envoy's, which inherits the limit, no debugger, and /proc/PID belongs to root.
func hideMemory() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switching core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keeping other processes out of our memory: %w", err)
	}
	return nil
}
