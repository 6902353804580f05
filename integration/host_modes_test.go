package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whatever the umask is, what the service makes is for its user alone; the socket's folder guards the socket.
func TestWithoutAnUmaskNothingIsOpen(t *testing.T) {
	g := prepared(t)
	if err := g.Add("claude-1", "claude", time.Hour); err != nil {
		t.Fatal(err)
	}
	data, run := filepath.Join(g.Opts.Folder, "data"), filepath.Join(g.Opts.Folder, "run")
	if err := os.RemoveAll(data); err != nil { // made by Add, with the umask of the test
		t.Fatal(err)
	}
	script := filepath.Join(g.Opts.Folder, "open.sh")
	// it is run
	if err := os.WriteFile(script, []byte("#!/bin/sh\numask 0\nexec "+g.Opts.Binary+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.Opts.Binary = script
	g.accounts = 0
	t.Cleanup(func() { _ = g.Stop() })
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add("claude-2", "claude", time.Hour); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, folder := range []string{data, run} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			st, err := d.Info()
			if err != nil {
				return err
			}
			seen++
			if open := st.Mode().Perm() & 0o077; open != 0 && st.Mode()&fs.ModeSocket == 0 {
				t.Errorf("%s has mode %s", path, st.Mode())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 10 {
		t.Errorf("only %d files and folders were looked at", seen)
	}
}

func TestAConfigurationThatEverybodyMayChangeIsTold(t *testing.T) {
	g := prepared(t)
	chmod(t, g.config(), 0o666)
	t.Cleanup(func() { _ = g.Stop() })
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(g.Log.String(), "every user of this machine may change the configuration") {
		t.Error("it is not told")
	}
}

// What held in the review: files that are made to use up memory or time are refused at once.
func TestHostileConfigurationsAreRefusedAtOnce(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'j'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	for name, text := range map[string]string{
		"a bomb of aliases":         bomb,
		"a reference to itself":     "routes: &r { r: *r }\n",
		"a merge with itself":       "routes: &r { <<: *r }\n",
		"100,000 levels":            strings.Repeat("[", 100_000),
		"100,000 levels of keys":    strings.Repeat("{a: ", 100_000),
		"a million keys":            "routes: {" + strings.Repeat("a: 1, ", 200_000) + "}",
		"bytes that are no text":    "\xff\xfe\x00\x00",
		"a secret in a wrong place": "routes: { r: { upstreams: [anthropic], match: { prefix: /v1/ } } }\nstore: { vault: { address: 'https://u:planted-secret@v', auth: { token_file: x } } }\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tokenward.yaml")
			put(t, file, text)
			began := time.Now()
			out, err := exec.Command(tool(t, "TOKENWARD", "../bin/tokenward", "make build"), "check", "-c", file).
				CombinedOutput()
			if err == nil || len(out) == 0 || strings.Contains(string(out), "planted-secret") ||
				strings.Contains(string(out), "goroutine ") {
				t.Errorf("%v: %.2000s", err, out)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}
