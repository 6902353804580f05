package main

import (
	"cmp"
	"fmt"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// secureProcess hides this process's memory and files. What it finds open is told and is no reason to stay away:
// sandboxes may refuse the one, and file systems of other kinds show all files as everybody's.
func secureProcess(file string, log *zap.Logger) {
	unix.Umask(0o077) // Envoy's too
	if err := hideMemory(); err != nil {
		log.Warn("tokens may get to the disk by a core dump", zap.Error(err))
	}
	file = cmp.Or(file, defaultFile)
	if st, err := os.Stat(file); err == nil && st.Mode().Perm()&0o002 != 0 {
		log.Warn("every user of this machine may change the configuration, and so where tokens go: chmod o-w it",
			zap.String("file", file))
	}
}

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
