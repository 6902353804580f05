package envoy

import (
	"strings"
	"testing"
)

func TestBuildsWithKnownHolesAreNamedWithTheirPatchedVersion(t *testing.T) {
	for _, tt := range []struct{ version, hole, install string }{
		{"1.37.0", "CVE-2026-47207", "1.37.7"},
		{"1.37.4", "CVE-2026-47207", "1.37.7"},
		{"1.37.5", "CVE-2026-73548", "1.37.7"},
		{"1.37.6", "CVE-2026-35189", "1.37.7"},
		{"1.37.7", "", ""},
		{"1.37.12", "", ""},
		{"1.38.2", "CVE-2026-47207", "1.38.5"},
		{"1.38.3-dev", "CVE-2026-47207", "1.38.5"},
		{"1.38.3", "CVE-2026-73548", "1.38.5"},
		{"1.38.5", "", ""},
		{"1.39.0-dev", "CVE-2026-73548", "1.39.2"},
		{"1.39.0", "CVE-2026-73548", "1.39.2"},
		{"1.39.2-dev", "CVE-2026-35189", "1.39.2"},
		{"1.39.2-vendor.4", "", ""},
		{"1.39.2", "", ""},
		{"1.39.10", "", ""},
		{"1.40.0", "", ""},
		{"1.41.0-dev", "", ""},
		{"1.400.0", "", ""},
		{"2.0.0", "", ""},
		{"1.37.99999999999999999999", "", ""},
	} {
		v, err := parseVersion("/opt/envoy",
			"/opt/envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/"+tt.version+"/Clean/RELEASE/BoringSSL")
		if err != nil {
			t.Errorf("%s: %v", tt.version, err)
			continue
		}
		got := v.Warning("/opt/envoy")
		if tt.hole == "" {
			if got != "" {
				t.Errorf("%s: %s", tt.version, got)
			}
			continue
		}
		if !strings.Contains(got, tt.hole) || !strings.Contains(got, "install "+tt.install+" ") ||
			!strings.Contains(got, "/opt/envoy is Envoy 1.") ||
			strings.Contains(got, "\n") {
			t.Errorf("%s: %q does not name %s and %s in one line", tt.version, got, tt.hole, tt.install)
		}
	}
}

func TestThePatchedVersionsOfAllBranchesAreNamed(t *testing.T) {
	if got := Patched(); got != "1.37.7, 1.38.5, 1.39.2, 1.40.0" {
		t.Errorf("got %s", got)
	}
}
