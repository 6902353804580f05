package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pretending is an Envoy that says that it is another version.
func pretending(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	script := "#!/bin/sh\n" + `[ "$1" = --version ] && echo "envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/` + version + `/Clean/RELEASE/BoringSSL" && exit` + "\n" +
		`exec ` + tool(
		t,
		"ENVOY",
		"../.tools/envoy/bin/envoy",
		"make tools",
	) + ` "$@"` + "\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil { // it must be executable
		t.Fatal(err)
	}
	return path
}

func TestCheckAndRunWarnOfAnEnvoyWithKnownHoles(t *testing.T) {
	old := pretending(t, "1.38.2")
	g := startWith(t, func(o *Options) { o.Envoy = old }, one) // it runs all the same
	served(t, g.post(t, ""), "")
	const want = "is Envoy 1.38.2, which has known security holes (CVE-2026-47207"
	if n := strings.Count(g.Log.String(), "tokenward: warning: "+old+" "+want); n != 1 {
		t.Errorf("run warned %d times", n)
	}
	for envoy, warning := range map[string]string{old: want, pretending(t, "1.38.5"): "", pretending(t, "1.40.0"): "", pretending(t, "1.36.4"): "is Envoy 1.36.4: tokenward needs 1.37 or later"} {
		cmd := exec.Command(g.Opts.Binary, "check", "-c", g.config())
		cmd.Env = append(os.Environ(), "ENVOY="+envoy)
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil {
			t.Errorf("check: %v", err)
		}
		if !strings.HasPrefix(out.String(),
			"the configuration is valid\nEnvoy: at most 8192 connections and 16384 requests at once") {
			t.Errorf("output: %q", out.String())
		}
		if warning == "" {
			expect(t, "warnings", said.String(), "")
		} else if strings.Count(said.String(), "\n") != 1 || !strings.Contains(said.String(), warning) || !strings.HasPrefix(said.String(), "tokenward: warning: ") {
			t.Errorf("this is not one clear line: %q", said.String())
		}
	}
}
