package rotation

import (
	"context"
	"errors"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Head is what a listing tells of a record: no secrets.
type Head struct {
	ID      record.ID
	Version record.Version
}

// The errors of a [Backend], to be matched with errors.Is. Any other error means that the backend could not be used;
// after such an error of CompareAndSwap or Delete the write may or may not have happened.
var (
	ErrNotFound = errors.New("account not found")
	ErrDeleted  = errors.New("account deleted")            // a version exists but is marked deleted (Vault's soft delete)
	ErrConflict = errors.New("record changed by somebody") // the expected version is not the current one
	// the backend works and does not give this one record: denied or broken
	ErrWithheld = errors.New("record withheld")
)

// Backend keeps account records. Implementations are safe for concurrent use, also by several processes, and pass
// the conformance suite in tokenstoretest. All methods honour their context.
type Backend interface {
	// List returns the heads of all records, in no particular order. Version 0: there, but only Load can say what it is. A
	// record is left out only if it does not exist.
	List(ctx context.Context) ([]Head, error)

	// Load returns a record and its version. ErrNotFound, ErrDeleted, ErrWithheld; an error matching ErrUnreadable
	// together with the valid version for a record that is there but cannot be used, and with what [DecodeRecord] could
	// read of it.
	Load(ctx context.Context, id record.ID) (record.Record, record.Version, error)

	// CompareAndSwap stores r if the current version is expect (0: if the record does not exist) and returns the new
	// version, which is greater than every version the record had since it was created. ErrConflict if it is not.
	// When it returns nil the record is durable: it survives a crash of the process and of the machine.
	CompareAndSwap(ctx context.Context, id record.ID, r record.Record, expect record.Version) (record.Version, error)

	// Delete removes a record whose version is expect. ErrConflict, ErrNotFound.
	Delete(ctx context.Context, id record.ID, expect record.Version) error

	// Watch calls changed, one call at a time, for records that may have been created, changed or deleted since Watch
	// was called, by this process or any other; it may over-report and must not miss one. changed must not block for
	// long. looked, called like changed, hears how each look for changes ended: nil, or why it failed and is tried again;
	// a backend that is told of changes does not call it. Watch returns ctx.Err() when the context ends, another error
	// when it cannot go on.
	Watch(ctx context.Context, changed func(record.ID), looked func(error)) error

	// Close releases what the backend holds. No method may be called after it.
	Close() error
}
