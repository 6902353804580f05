package kv

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// How long a carrier waits for one answer.
const (
	ReadTimeout  = 3 * time.Second
	WriteTimeout = 5 * time.Second
)

// Carrier carries single requests to a KV v2 engine. Its methods are safe for concurrent use, honour their context, and
// word their own errors. An error whose method Own returns true may be that one account's trouble: see [Own].
type Carrier interface {
	// Names lists what lies directly under the prefix: account ids, and whatever else there is.
	Names(ctx context.Context) ([]string, error)

	// Look reads an account's metadata; the zero Sight if there is none. before is what the latest Look returned, or
	// zero.
	Look(ctx context.Context, id tokenstore.AccountID, before Sight) (Sight, error)

	// Read reads an account's current version; the zero Current if there is none.
	Read(ctx context.Context, id tokenstore.AccountID) (Current, error)

	// Write adds a version on top of version cas (0: where there is none) and returns its number. tried is what the
	// write is for, in the words of an error. tokenstore.ErrConflict if another version is the current one.
	Write(
		ctx context.Context, tried string, id tokenstore.AccountID, data json.RawMessage, cas tokenstore.Version,
	) (tokenstore.Version, error)

	// MayRemove returns an error if the policy does not grant Remove.
	MayRemove(ctx context.Context, tried string, id tokenstore.AccountID) error

	// Remove removes a secret with all its versions and its metadata.
	Remove(ctx context.Context, tried string, id tokenstore.AccountID) error
}

// Current is an account's current version as it was read.
type Current struct {
	Version tokenstore.Version
	Data    json.RawMessage // none, or null: the version is deleted or destroyed. It is not changed
	Ends    time.Time       // when the version is deleted; zero: never
}

// Mark is what tells two states of a secret apart without reading it. The creation time shows a secret that was removed
// and created anew up to the same number.
type Mark struct {
	Version tokenstore.Version // 0: there is none, or it cannot be seen
	Created string             // in the engine's words
	Ends    time.Time          // when it is deleted, past or future; zero: never. Our clock may be wrong about Gone
	Gone    bool               // deleted or destroyed
}

// Sight is a mark as it was seen.
type Sight struct {
	Mark
	Sum uint64 // the carrier's own: what it recognises the same answer by; 0: unknown
}

// Own reports whether a failed read may be that account's own trouble, if others can be read: the policy denies its
// path, or its entry is broken.
func Own(err error) bool {
	var o interface{ Own() bool }
	return errors.As(err, &o) && o.Own()
}

// withheld is an error whose cause is in one account alone.
type withheld struct{ error }

func (w withheld) Unwrap() []error { return []error{w.error, tokenstore.ErrWithheld} }
