package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/keyset"
)

// schemaVersion is kept in PRAGMA user_version.
const schemaVersion = 1

const schema = `
CREATE TABLE IF NOT EXISTS accounts (
	id TEXT PRIMARY KEY, version INTEGER NOT NULL, payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO counter VALUES (1, 0);
PRAGMA user_version = 1;`

// pollEvery is how often changes by other processes are looked for.
const pollEvery = 250 * time.Millisecond

// How long the first start waits for other processes that prepare the same file, and between two tries.
const (
	busyTimeout = 10 * time.Second
	busyPause   = 20 * time.Millisecond
)

// Config says where the file and its key are.
type Config struct {
	Path    string // the database; its folder is created (0700)
	KeyFile string // the AEAD keyset; created (0600) when missing, refused when others can read it
}

// Backend implements tokenstore.Backend. Safe for concurrent use.
type Backend struct {
	db   *sql.DB
	seal tink.AEAD
	// held by the one that writes: SQLite's own waiting between connections is unfair and starves writers
	turn chan struct{}
}

// Open opens the database, and creates it and its key on the first run.
func Open(ctx context.Context, cfg Config) (*Backend, error) {
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o700); err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", cfg.Path, err)
	}
	if err := createPrivate(cfg.Path); err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", cfg.Path, err)
	}
	q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: cfg.Path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", cfg.Path, err)
	}
	b := &Backend{db: db, turn: make(chan struct{}, 1)}
	if err := b.prepareWhenFree(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store %s: %w", cfg.Path, err), db.Close())
	}
	return b, nil
}

// prepareWhenFree tries again while another process prepares the same file: SQLite's busy_timeout does not cover the
// switch to WAL.
func (b *Backend) prepareWhenFree(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := b.prepare(ctx, cfg)
		var refused *driver.Error
		if !errors.As(err, &refused) || refused.Code()&0xff != sqlite3.SQLITE_BUSY { // the low byte is the primary code
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(busyPause):
		}
	}
}

func (b *Backend) prepare(ctx context.Context, cfg Config) error {
	var found int
	if err := b.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	if found > schemaVersion {
		return fmt.Errorf("it was written by a newer tokenward (format %d, this one knows %d): use that version", found,
			schemaVersion)
	}
	if found < schemaVersion {
		if _, err := b.db.ExecContext(ctx, schema); err != nil {
			return err
		}
	}
	var rows int
	if err := b.db.QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&rows); err != nil {
		return err
	}
	var err error
	b.seal, err = keyset.Open(cfg.KeyFile, rows == 0)
	return err
}

// createPrivate creates the file with mode 0600 unless it is there; SQLite gives its companions the same mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// List implements tokenstore.Backend. Rows whose id is none are not ours, and are ignored.
func (b *Backend) List(ctx context.Context) ([]tokenstore.Head, error) {
	rows, err := b.db.QueryContext(ctx, "SELECT id, version FROM accounts")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var heads []tokenstore.Head
	for rows.Next() {
		var h tokenstore.Head
		if err := rows.Scan(&h.ID, (*column)(&h.Version)); err != nil {
			return nil, err
		}
		if h.ID.Validate() == nil {
			heads = append(heads, h)
		}
	}
	return heads, rows.Err()
}

// Load implements tokenstore.Backend.
func (b *Backend) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	var v tokenstore.Version
	var payload []byte
	err := b.db.QueryRowContext(ctx, "SELECT version, payload FROM accounts WHERE id = ?", string(id)).
		Scan((*column)(&v), &payload)
	if errors.Is(err, sql.ErrNoRows) {
		return tokenstore.Record{}, 0, tokenstore.ErrNotFound
	}
	if err != nil {
		return tokenstore.Record{}, 0, err
	}
	plain, err := b.seal.Decrypt(payload, bind(id, v))
	if err != nil {
		return tokenstore.Record{}, v, &tokenstore.RecordError{
			Rule: "cannot be opened with this store's key: the row was tampered with, " +
				"or store.sqlite.key_file belongs to another store",
		}
	}
	r, err := tokenstore.DecodeRecord(plain)
	return r, v, err
}

func (b *Backend) takeTurn(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CompareAndSwap implements tokenstore.Backend.
func (b *Backend) CompareAndSwap(
	ctx context.Context, id tokenstore.AccountID, r tokenstore.Record, expect tokenstore.Version,
) (tokenstore.Version, error) {
	if err := id.Validate(); err != nil {
		return 0, err
	}
	plain, err := tokenstore.EncodeRecord(r)
	if err != nil {
		return 0, err
	}
	if err := b.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer func() { <-b.turn }()
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	v, err := next(ctx, tx, expect)
	if err != nil {
		return 0, err
	}
	sealed, err := b.seal.Encrypt(plain, bind(id, v))
	if err != nil {
		return 0, fmt.Errorf("sealing the record: %w", err)
	}
	var res sql.Result
	if expect == 0 {
		res, err = tx.ExecContext(ctx, "INSERT INTO accounts VALUES (?, ?, ?) ON CONFLICT DO NOTHING", string(id), v, sealed)
	} else {
		res, err = tx.ExecContext(ctx, "UPDATE accounts SET version = ?, payload = ? WHERE id = ? AND version = ?", v, sealed,
			string(id), stored(expect))
	}
	if err != nil {
		return 0, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return 0, errors.Join(err, tokenstore.ErrConflict)
	}
	return v, tx.Commit()
}

// Delete implements tokenstore.Backend.
func (b *Backend) Delete(ctx context.Context, id tokenstore.AccountID, expect tokenstore.Version) error {
	if err := b.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-b.turn }()
	res, err := b.db.ExecContext(ctx, "DELETE FROM accounts WHERE id = ? AND version = ?", string(id), stored(expect))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	if _, _, err := b.Load(ctx, id); errors.Is(err, tokenstore.ErrNotFound) {
		return tokenstore.ErrNotFound
	}
	return tokenstore.ErrConflict
}

// Watch implements tokenstore.Backend: it compares the heads, four times a second, when the file has changed.
func (b *Backend) Watch(ctx context.Context, changed func(tokenstore.AccountID), looked func(error)) error {
	conn, err := b.db.Conn(ctx) // never writes: its data_version moves with everybody else's commits
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var last int64
	seen, err := b.heads(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var at int64
		if err := conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&at); err == nil && at == last {
			looked(nil)
			continue
		}
		last = at
		now, err := b.heads(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		for id, v := range now {
			if seen[id] != v {
				changed(id)
			}
		}
		for id := range seen {
			if _, ok := now[id]; !ok {
				changed(id)
			}
		}
		seen = now
		looked(nil)
	}
}

func (b *Backend) heads(ctx context.Context) (map[tokenstore.AccountID]tokenstore.Version, error) {
	list, err := b.List(ctx)
	m := make(map[tokenstore.AccountID]tokenstore.Version, len(list))
	for _, h := range list {
		m[h.ID] = h.Version
	}
	return m, err
}

// Close implements tokenstore.Backend.
func (b *Backend) Close() error { return b.db.Close() }
