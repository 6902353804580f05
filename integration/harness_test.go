package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start runs a gateway with claude-1, claude-2 and backup-1 whose tokens live an hour.
func start(t *testing.T, change func(o *Options)) *Gateway {
	t.Helper()
	o := Options{Binary: tool(t, "TOKENWARD", "../bin/tokenward", "make build"), Envoy: tool(t, "ENVOY", "../.tools/envoy/bin/envoy", "make tools"), Folder: t.TempDir()}
	if change != nil {
		change(&o)
	}
	g, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if t.Failed() {
			t.Log(g.Log)
		}
		for _, secret := range []string{"sk-ant-oat-sim", "sk-ant-ort-sim"} {
			if strings.Contains(g.Log.String(), secret) {
				t.Error("a secret is in the logs")
			}
		}
	})
	for name, pool := range map[string]string{"claude-1": "claude", "claude-2": "claude", "backup-1": "backup"} {
		if err := g.Add(name, pool, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

func tool(t *testing.T, variable, path, remedy string) string {
	t.Helper()
	if p := os.Getenv(variable); p != "" {
		path = p
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if err != nil {
		t.Fatalf("%v: run %s", err, remedy)
	}
	return abs
}

// post sends a request and fails the test if there is no answer.
func (g *Gateway) post(t *testing.T, sim string) Answer {
	t.Helper()
	a, err := g.Post(t.Context(), t.Name(), sim, strings.NewReader(`{"model":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// pause takes an account out of service.
func (g *Gateway) cli(t *testing.T, args ...string) string {
	t.Helper()
	out, err := g.CLI("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for !ok() {
		if ctx.Err() != nil {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func (g *Gateway) yaml(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(g.config())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// runWith runs `serve` with a configuration and returns what it said.
func (g *Gateway) runWith(yaml string) (string, error) {
	if err := os.WriteFile(g.config(), []byte(yaml), 0o600); err != nil {
		return "", err
	}
	return g.CLI("", "serve")
}
