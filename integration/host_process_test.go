package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// child is the pid of the Envoy that run has started.
func (g *Gateway) child(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(data), ") ") // proc_pid_stat(5): the state and the parent follow the name
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(g.service.Process.Pid) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}
	t.Fatal("the service has no child")
	return 0
}

func proc(t *testing.T, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEnvoyGetsNoSecretsOfOurEnvironment(t *testing.T) {
	g := start(t, func(o *Options) {
		o.Env = []string{"VAULT_TOKEN=not-for-envoy", "CLIENT_SECRET=not-for-envoy", "AWS_SECRET_ACCESS_KEY=not-for-envoy", "TZ=UTC"}
	})
	got := proc(t, g.child(t), "environ")
	if strings.Contains(got, "not-for-envoy") {
		t.Errorf("Envoy's environment: %q", got)
	}
	if !strings.Contains(got, "TZ=UTC") || !strings.Contains(got, "PATH=") {
		t.Errorf("what Envoy needs is missing: %q", got)
	}
}

func TestNoProcessLeavesItsMemoryOnTheDisk(t *testing.T) {
	for name, serve := range map[string]bool{"run": false, "serve": true} {
		t.Run(name, func(t *testing.T) {
			g := start(t, func(o *Options) { o.Serve = serve })
			ours := g.service.Process.Pid
			pids := []int{ours}
			if !serve {
				pids = append(pids, g.child(t))
			}
			for _, pid := range pids {
				for line := range strings.SplitSeq(proc(t, pid, "limits"), "\n") {
					if strings.HasPrefix(line, "Max core file size") {
						expect(t, "core limits of "+proc(t, pid, "comm"), strings.Join(strings.Fields(line)[4:6], " "), "0 0")
					}
				}
			}
			// A process that must not be dumped does not belong to its user in /proc (proc(5)), and root's stay root's.
			if os.Geteuid() != 0 {
				var st syscall.Stat_t
				if err := syscall.Stat(fmt.Sprintf("/proc/%d/environ", ours), &st); err != nil || st.Uid != 0 {
					t.Errorf("the service can be dumped: %v, owner %d", err, st.Uid)
				}
			}
			served(t, g.post(t, ""), "")
		})
	}
}
