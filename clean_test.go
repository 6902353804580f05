package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestMakeCleanLeavesWhatAUserMayOwn(t *testing.T) {
	folder := t.TempDir()
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, data []byte) {
		t.Helper()
		path = filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := []string{
		"data/tokenward.db",
		"data/tokenward.key",
		"data/journal/x",
		"run/tokenward.yaml",
		"run/data/tokenward.key",
		"gateway/token.txt",
		"keys/secret_id",
		"tokenward.yaml",
		"bin/mine",
	}
	gone := []string{"bin/tokenward", "bin/tour", ".tools/envoy/bin/envoy"}
	write("Makefile", makefile)
	for _, path := range append(kept, gone...) {
		write(path, []byte("x"))
	}
	cmd := exec.CommandContext(t.Context(), "make", "clean", "ENVOY=x", "VAULT=x")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range kept {
		if _, err := os.Stat(filepath.Join(folder, path)); err != nil {
			t.Errorf("make clean took %s: %v", path, err)
		}
	}
	for _, path := range gone {
		if _, err := os.Stat(filepath.Join(folder, path)); err == nil {
			t.Errorf("make clean left %s", path)
		}
	}
}
