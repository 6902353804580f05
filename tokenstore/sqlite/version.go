package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"github.com/tokenward/tokenward/tokenstore"
)

// Versions come from one counter for all rows. A file that was tampered with must not stop every save, nor bring a
// version back that a row has had: a change could then go unnoticed. So a counter that is missing, below the row's or
// near its end goes on after the highest version of all rows that a counter could have given.

const sane = "version BETWEEN 0 AND 1 << 62"

const (
	step    = "UPDATE counter SET version = version + 1 WHERE " + sane + " AND version >= ? RETURNING version"
	restart = "INSERT OR REPLACE INTO counter SELECT 1, coalesce(max(version), 0) + 1 FROM accounts WHERE " + sane +
		" RETURNING version"
)

// next draws a version for a row that has had expect.
func next(ctx context.Context, tx *sql.Tx, expect tokenstore.Version) (v tokenstore.Version, err error) {
	err = tx.QueryRowContext(ctx, step, stored(expect)).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, restart).Scan(&v)
	}
	return v, err
}

// column reads and writes a version as SQLite keeps it: a row may hold a negative one, which no driver takes for a
// Version, and must stop nothing but itself.
type column tokenstore.Version

// Scan implements sql.Scanner.
func (c *column) Scan(src any) error {
	i, ok := src.(int64)
	if !ok {
		return errors.New("a version is no integer")
	}
	*c = column(i) //nolint:gosec // as bits: a negative one is no other row's
	return nil
}

// stored is what Scan read.
func stored(v tokenstore.Version) int64 { return int64(v) } //nolint:gosec // as bits

// bind is the associated data of a row's payload.
func bind(id tokenstore.AccountID, v tokenstore.Version) []byte {
	return []byte(string(id) + "@" + strconv.FormatUint(uint64(v), 10))
}
