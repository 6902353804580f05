package vaultserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binary returns the path of the Vault program.
func Binary() (string, error) {
	if p := os.Getenv("VAULT"); p != "" {
		return executable(p)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if p, err := executable(filepath.Join(root, ".tools", "vault", "vault")); err == nil {
		return p, nil
	}
	for _, name := range []string{"vault", "bao"} {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("there is no Vault: run `make vault`, or set VAULT to the path of one")
}

func executable(path string) (string, error) {
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("VAULT=%s cannot be run: run `make vault`, or set VAULT to the path of one", path)
	}
	return filepath.Abs(path)
}

// moduleRoot is the nearest folder above the test's that has the repository's go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", fmt.Errorf("no go.mod above the working folder")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
