package tokenstoretest_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/sqlite"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestMemoryConformsToTheBackendContract(t *testing.T) {
	tokenstoretest.Conformance(t, func(*testing.T) tokenstore.Backend { return tokenstoretest.NewMemory() })
}

func TestSQLiteConformsToTheBackendContract(t *testing.T) {
	tokenstoretest.Conformance(t, func(t *testing.T) tokenstore.Backend {
		path := filepath.Join(t.TempDir(), "store.db")
		return spoilable{openSQLite(t, path), t, path}
	})
}

// Everything is written through one backend and read through another on the same file, as by two processes.
func TestTwoSQLiteBackendsOnOneFileConformToTheBackendContract(t *testing.T) {
	tokenstoretest.Conformance(t, func(t *testing.T) tokenstore.Backend {
		path := filepath.Join(t.TempDir(), "store.db")
		return pair{Backend: openSQLite(t, path), writer: openSQLite(t, path)}
	})
}

func openSQLite(t *testing.T, path string) tokenstore.Backend {
	t.Helper()
	b, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, KeyFile: path + ".key"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// spoilable is a SQLite backend whose rows can be damaged behind its back.
type spoilable struct {
	tokenstore.Backend
	t    *testing.T
	path string
}

func (s spoilable) Corrupt(id tokenstore.AccountID) {
	db, err := sql.Open("sqlite", "file:"+s.path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(s.t.Context(), "UPDATE accounts SET payload = x'00' WHERE id = ?",
		string(id)); err != nil {
		s.t.Fatal(err)
	}
}

// pair reads and watches through one backend and writes through another.
type pair struct {
	tokenstore.Backend
	writer tokenstore.Backend
}

func (p pair) CompareAndSwap(
	ctx context.Context, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version,
) (tokenstore.Version, error) {
	return p.writer.CompareAndSwap(ctx, id, r, expect)
}

func (p pair) Delete(ctx context.Context, id tokenstore.AccountID, expect tokenstore.Version) error {
	return p.writer.Delete(ctx, id, expect)
}
