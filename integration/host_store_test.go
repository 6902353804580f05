package integration

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // as the store's file is read
)

// Somebody with the file but without its key writes into it while the service is down.
func TestATamperedStoreStopsNoOtherAccount(t *testing.T) {
	g := prepared(t)
	for _, name := range []string{"claude-1", "claude-2"} {
		if err := g.Add(name, "claude", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(g.Opts.Folder, "data", "tokenward.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"UPDATE counter SET version = 9223372036854775807",
		"UPDATE accounts SET version = -9 WHERE id = 'claude-2'",
		"INSERT INTO accounts SELECT 'x' || char(27) || '[31mforged' || char(10) || 'row', version, payload FROM accounts WHERE id = 'claude-1'",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Stop() })
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	served(t, g.post(t, ""), "")
	if out := g.cli(t, "accounts", "refresh", "claude-1", "--force"); !strings.Contains(out, "claude-1") { // two saves
		t.Errorf("refreshing: %s", out)
	}
	served(t, g.post(t, ""), "")
	list, _ := g.CLI("", "accounts", "list") // exit 4: somebody has to look at claude-2
	if strings.Contains(list, "forged") || !strings.Contains(list, "claude-2") || !strings.Contains(list, "tampered") {
		t.Errorf("listed: %s", list)
	}
}
