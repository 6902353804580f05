package config

import (
	"strings"
	"testing"
)

func TestMetricsNeedTheTokenWhereOthersReachThem(t *testing.T) {
	const tls = ", tls: { cert_file: a.crt, key_file: a.key }"
	for admin, want := range map[string]bool{
		`listen: "127.0.0.1:1"`:                          false,
		`listen: "[::1]:1"`:                              false,
		`listen: "localhost:1"`:                          false,
		`listen: "127.0.0.1:1", metrics_auth: true`:      true,
		`listen: "0.0.0.0:1"` + tls:                      true,
		`listen: ":1"` + tls:                             true,
		`listen: "192.0.2.1:1"` + tls:                    true,
		`listen: "gw.example:1"` + tls:                   true,
		`listen: "0.0.0.0:1", metrics_auth: false` + tls: false,
	} {
		if got := mustLoad(t, smallest+"admin: { "+admin+" }\n").Admin.MetricsAuth; got != want {
			t.Errorf("%s: got %v, want %v", admin, got, want)
		}
	}
}

func TestATrustedFolderMustBeThere(t *testing.T) {
	for _, folder := range []string{"not-there", "a.crt"} {
		_, err := load(t, smallest+"host: { trusted_folders: [., "+folder+"] }\n", noEnvironment)
		if err == nil || !strings.Contains(err.Error(), "host.trusted_folders[1]") || !strings.Contains(err.Error(), "is no folder") {
			t.Errorf("%s: %v", folder, err)
		}
	}
}
