package chaos

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The service is a static binary that asks the kernel for the time without a system call: neither libfaketime nor a
// time namespace reaches its wall clock. So the storm builds it with a standard library whose time.Now adds what a file
// says, and which is the same otherwise; the monotonic clock goes on as it does on a machine whose clock is set.

const shiftSource = `package time

import (
	"syscall"
	"unsafe"
)

var stormShift = func() *int64 {
	name, _ := syscall.Getenv("STORM_CLOCK")
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("opening STORM_CLOCK=" + name + ": " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("mapping STORM_CLOCK=" + name + ": " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}()
`

// buildShiftable builds the service so that its wall clock can be set.
func buildShiftable(t *testing.T) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	check(t, err)
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(library, "time.go"))
	check(t, err)
	const reading = "\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), reading) != 1 {
		t.Fatalf("time.Now of %s reads the clock in another way than this test knows: look at its source and adapt the test",
			runtime.Version())
	}
	folder := t.TempDir()
	replace := map[string]string{}
	for name, text := range map[string]string{
		"time.go":        strings.Replace(string(source), reading, reading+"\tsec += *stormShift\n", 1),
		"storm_shift.go": shiftSource,
	} {
		replace[filepath.Join(library, name)] = filepath.Join(folder, name)
		check(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	check(t, err)
	file, binary := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "tokenward")
	check(t, os.WriteFile(file, overlay, 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-overlay", file, "-o", binary, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the service with a clock that can be set: %v: %s", err, out)
	}
	return binary
}

// setClock has the replica's wall clock, now and after restarts, be ahead of the others' (negative: behind).
func (r *replica) setClock(ahead time.Duration) error {
	f, err := os.OpenFile(r.clock, os.O_WRONLY|os.O_CREATE, 0o600) // never truncated: the process has it mapped
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead/time.Second)), 0)
	return errors.Join(err, f.Close())
}

// clockShift has a replica's clock jump, and jump back after a while that is long enough for tokens to be renewed by
// it.
func clockShift(ahead time.Duration) func(context.Context, *world, fault) (bool, error) {
	return func(_ context.Context, w *world, f fault) (bool, error) {
		r := w.replicas[f.replica]
		r.clockMu.Lock()
		defer r.clockMu.Unlock()
		if err := r.setClock(ahead); err != nil {
			return false, err
		}
		if shift, alive := r.clockShift(); alive && (shift-ahead).Abs() > 5*time.Second {
			return false, fmt.Errorf("the clock is %v ahead, want %v", shift, ahead)
		}
		time.Sleep(life/2 + 3*f.pause)
		return true, r.setClock(0)
	}
}

// clockShift is how far the process's clock is ahead of ours, going by the date of an answer.
func (r *replica) clockShift() (ahead time.Duration, alive bool) {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get(r.AdminURL + "/healthz")
	if err != nil {
		return 0, false
	}
	_ = resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	return time.Until(date), err == nil
}
