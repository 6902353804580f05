package envoy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnEnvoysVersionIsReadAndOldOnesAreRefused(t *testing.T) {
	const commit = "9e5580933739775e8bce696a57a2e1bc99368f23"
	for _, tt := range []struct{ name, out, version, wrong string }{
		{"current", "\n/usr/bin/envoy  version: " + commit + "/1.40.0/Clean/RELEASE/BoringSSL\n\n", "1.40.0", ""},
		{"oldest", "envoy  version: " + commit + "/1.37.0/Clean/RELEASE/BoringSSL", "1.37.0", ""},
		{"development", "envoy  version: " + commit + "/1.41.0-dev/Modified/DEBUG/BoringSSL", "1.41.0", ""},
		{"next major", "envoy  version: " + commit + "/2.0.1/Clean/RELEASE/BoringSSL", "2.0.1", ""},
		{"too old", "envoy  version: " + commit + "/1.36.9/Clean/RELEASE/BoringSSL", "", "1.36.9"},
		{"too old in a folder named like a newer one", "/opt/envoy/1.40.0/envoy  version: " + commit + "/1.36.2/Clean/RELEASE/BoringSSL", "", "1.36.2"},
		{"new in a folder named like an older one", "/opt/envoy/1.20.0/envoy  version: " + commit + "/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0", ""},
		{"another program", "nginx version: nginx/1.25.3", "", "not Envoy's"},
		{"nothing", "", "", "not Envoy's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseVersion("/usr/bin/envoy", tt.out)
			if err == nil && got.String() != tt.version || (err == nil) != (tt.wrong == "") {
				t.Fatalf("got %q, %v; want %q", got, err, tt.version)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.wrong) || !strings.Contains(err.Error(), "/usr/bin/envoy")) {
				t.Errorf("%q does not say what was found where", err)
			}
		})
	}
}

func TestARefusedVersionComesWithTheRemedy(t *testing.T) {
	_, err := parseVersion("envoy", "envoy  version: abc/1.30.1/Clean/RELEASE/BoringSSL")
	if err == nil || !strings.Contains(err.Error(), Oldest) || !strings.Contains(err.Error(), "install a newer Envoy") {
		t.Errorf("got %v", err)
	}
}

func TestTheVersionOfTheRealEnvoyIsRead(t *testing.T) {
	if v, err := CheckVersion(t.Context(), realEnvoy(t)); err != nil || v.Major != 1 {
		t.Errorf("got %q, %v", v, err)
	}
}

func TestABinaryThatCannotRunIsNamed(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "envoy")
	if _, err := CheckVersion(t.Context(), missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v", err)
	}
}

func TestEnvoyIsFoundByNameThenEnvironmentThenPATH(t *testing.T) {
	folder := t.TempDir()
	onPath := filepath.Join(folder, "envoy")
	if err := os.WriteFile(onPath, []byte("#!/bin/sh\n"), 0o700); err != nil { // it must be executable
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	t.Setenv("ENVOY", "/from/environment")
	for _, tt := range []struct{ explicit, environment, want string }{
		{"/given", "/from/environment", "/given"},
		{"", "/from/environment", "/from/environment"},
		{"", "", onPath},
	} {
		t.Setenv("ENVOY", tt.environment)
		if got, err := Find(tt.explicit); err != nil || got != tt.want {
			t.Errorf("Find(%q) with $ENVOY=%q: %q, %v; want %q", tt.explicit, tt.environment, got, err, tt.want)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(""); err == nil || !strings.Contains(err.Error(), "--envoy") {
		t.Errorf("without any: %v", err)
	}
}
