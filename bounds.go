package main

import (
	"fmt"
	"syscall"

	"github.com/tokenward/tokenward/config"
	"github.com/tokenward/tokenward/envoy"
)

// describe tells what clients can use up of Envoy.
func describe(b envoy.Bounds) string {
	all := fmt.Sprintf("Envoy: at most %d connections and %d requests at once, %s of memory",
		b.Connections, b.Requests, size(b.Heap))
	if b.Uploads == 0 {
		return all + "; no body is kept for retries"
	}
	return all + fmt.Sprintf("; at most %d bodies larger than %s at once, %s for bodies kept for retries",
		b.Uploads, size(b.Large), size(b.Kept))
}

func size(bytes uint64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%.4g KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.6g MiB", float64(bytes)/(1<<20))
}

// ownFiles are the descriptors that Envoy needs beside those of requests.
const ownFiles = 256

// fitConnections raises the number of files that this process's Envoy may open, and returns the configuration with
// envoy.max_connections lowered to what that allows; then it says so. A request may need two: one to its client and one
// to the provider. The given configuration stays what the file says: a later look at the file is compared with it.
func fitConnections(given *config.Config) (fitting *config.Config, warning string) {
	c := *given
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return &c, ""
	}
	files.Cur = files.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files) // said aloud, it counts for children too
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return &c, ""
	}
	want, can := c.Envoy.MaxConnections, most(files.Cur)
	if want <= can {
		return &c, ""
	}
	c.Envoy.MaxConnections = can
	return &c, fmt.Sprintf("envoy.max_connections is %d, but this process may open only %d files: "+
		"at most %d connections; raise the limit (ulimit -n, LimitNOFILE) to %d", want, files.Cur, can, 2*want+ownFiles)
}

// most is how many clients so many files are enough for.
func most(files uint64) int {
	const least, enough = 16, 1 << 30
	if files > enough {
		return enough
	}
	return max((int(files)-ownFiles)/2, least)
}
