package config

import (
	"path/filepath"
	"slices"
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

func TestTrustedFoldersAreBesideTheFileAndPrinted(t *testing.T) {
	c := mustLoad(t, smallest+"host: { trusted_folders: [., /] }\n")
	folder := filepath.Dir(c.Admin.TokenFile) // FOLDER/data
	if got := c.Host.TrustedFolders; len(got) != 2 || got[0] != filepath.Dir(folder) || got[1] != "/" {
		t.Errorf("got %v beside %s", got, folder)
	}
	printed, err := Print(c)
	if err != nil || !strings.Contains(string(printed), "trusted_folders:") {
		t.Errorf("%v:\n%s", err, printed)
	}
	if again := mustLoad(t, string(printed)); !slices.Equal(again.Host.TrustedFolders, c.Host.TrustedFolders) {
		t.Errorf("what is printed loads as %v", again.Host.TrustedFolders)
	}
}

func TestATrustedFolderMustBeThere(t *testing.T) {
	for _, folder := range []string{"not-there", "a.crt"} {
		_, err := load(t, smallest+"host: { trusted_folders: [., "+folder+"] }\n", noEnvironment)
		if err == nil || !strings.Contains(err.Error(), "host.trusted_folders[1]") || !strings.Contains(err.Error(),
			"is no folder") {
			t.Errorf("%s: %v", folder, err)
		}
	}
}
