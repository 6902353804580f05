package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/sqlite"
)

// roleVariable makes this test binary a second process on a store: increment N, or write until killed.
const roleVariable = "TOKENWARD_SQLITE_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		goleak.VerifyTestMain(m) // ends the process
	}
	if err := play(role, os.Getenv("TOKENWARD_SQLITE_TEST_DIR")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(role, dir string) error {
	ctx := context.Background()
	b, err := sqlite.Open(ctx, configIn(dir))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	if role == "write" {
		return writeForever(ctx, b)
	}
	times, err := strconv.Atoi(role)
	if err != nil {
		return err
	}
	for range times {
		if err := increment(ctx, b, "a"); err != nil {
			return err
		}
	}
	return nil
}

// writeForever prints the generation of every write that was acknowledged, after it was.
func writeForever(ctx context.Context, b tokenstore.Backend) error {
	var v tokenstore.Version
	r := sample("rt")
	for r.Rotation.Generation = 1; ; r.Rotation.Generation++ {
		var err error
		if v, err = b.CompareAndSwap(ctx, "a", r, v); err != nil {
			return err
		}
		if _, err := fmt.Println(r.Rotation.Generation); err != nil {
			return err
		}
	}
}

func increment(ctx context.Context, b tokenstore.Backend, id tokenstore.AccountID) error {
	for {
		r, v, err := b.Load(ctx, id)
		if errors.Is(err, tokenstore.ErrNotFound) {
			r, err = sample("rt"), nil
		}
		if err != nil {
			return err
		}
		r.Rotation.Generation++
		if _, err = b.CompareAndSwap(ctx, id, r, v); !errors.Is(err, tokenstore.ErrConflict) {
			return err
		}
	}
}

func process(t *testing.T, role, dir string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "TOKENWARD_SQLITE_TEST_DIR="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	return cmd, &stderr
}

// The processes also race for the first start: file, schema and key do not exist yet.
func TestIncrementsBySeveralProcessesAreAllKept(t *testing.T) {
	const processes, each = 3, 20
	dir := t.TempDir()
	var started []*exec.Cmd
	var words []*strings.Builder
	for range processes {
		cmd, stderr := process(t, strconv.Itoa(each), dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started, words = append(started, cmd), append(words, stderr)
	}
	for i, cmd := range started {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, words[i])
		}
	}
	r, _, err := open(t, configIn(dir)).Load(t.Context(), "a")
	if err != nil || r.Rotation.Generation != processes*each {
		t.Errorf("%d increments were acknowledged, %d are stored (%v)", processes*each, r.Rotation.Generation, err)
	}
}

func TestAKilledProcessLosesNoAcknowledgedWrite(t *testing.T) {
	dir := t.TempDir()
	cmd, stderr := process(t, "write", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged uint64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if acknowledged == 50 {
			_ = cmd.Process.Kill() // SIGKILL; what was printed before it arrives is still read
		}
	}
	_ = cmd.Wait() // it was killed
	if acknowledged < 50 {
		t.Fatalf("the writer ended by itself after %d writes: %s", acknowledged, stderr)
	}
	b := open(t, configIn(dir))
	r, v, err := b.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if got := uint64(r.Rotation.Generation); got < acknowledged || got > acknowledged+1 {
		t.Errorf("%d writes were acknowledged, generation %d is stored", acknowledged, got)
	}
	put(t, b, "a", "next", v)
}
