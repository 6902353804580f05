package journal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/keyset"
)

const suffix = ".rotation"

// Journal implements tokenstore.Journal. Safe for concurrent use, also by several processes on one folder.
type Journal struct {
	folder string
	seal   tink.AEAD
}

// Open opens the folder, and creates it (0700) and its key, FOLDER.key (0600), on the first run. A missing key is not
// replaced while the folder has entries.
func Open(folder string) (*Journal, error) {
	folder = filepath.Clean(folder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("opening the journal: %w: choose another store.journal_dir", err)
	}
	names, err := entries(folder)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	seal, err := keyset.Open(folder+".key", len(names) == 0)
	if err != nil {
		return nil, fmt.Errorf("opening the journal %s: %w", folder, err)
	}
	return &Journal{folder: folder, seal: seal}, nil
}

func entries(folder string) ([]string, error) {
	files, err := os.ReadDir(folder)
	var names []string
	for _, f := range files {
		if strings.HasSuffix(f.Name(), suffix) {
			names = append(names, f.Name())
		}
	}
	return names, err
}

// wire is an entry before it is sealed.
type wire struct {
	At      time.Time            `json:"at"` // of the grant, to order entries
	Account tokenstore.AccountID `json:"account"`
	Spent   string               `json:"spent"`
	Record  json.RawMessage      `json:"record"`
}

// Append implements tokenstore.Journal.
func (j *Journal) Append(e tokenstore.JournalEntry) error {
	record, err := tokenstore.EncodeRecord(e.Record)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(wire{At: e.At, Account: e.Account, Spent: e.Spent, Record: record})
	if err != nil {
		return fmt.Errorf("encoding a journal entry: %w", err)
	}
	name := e.Attempt + suffix
	sealed, err := j.seal.Encrypt(plain, []byte(name))
	if err != nil {
		return fmt.Errorf("sealing a journal entry: %w", err)
	}
	return j.put(name, sealed)
}

// put writes a file whole or not at all, durably.
func (j *Journal) put(name string, data []byte) error {
	if err := os.MkdirAll(j.folder, 0o700); err != nil { // somebody may have removed it
		return fmt.Errorf("writing the journal: %w", err)
	}
	f, err := os.CreateTemp(j.folder, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(j.folder, name))
	}
	if err == nil {
		err = keyset.SyncFolder(j.folder)
	}
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// Remove implements tokenstore.Journal. It is not synced: an entry that comes back after a crash is found done.
func (j *Journal) Remove(attempt string) error {
	if err := os.Remove(filepath.Join(j.folder, attempt+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("emptying the journal: %w", err)
	}
	return nil
}

// Entries implements tokenstore.Journal.
func (j *Journal) Entries() ([]tokenstore.JournalEntry, error) {
	names, err := entries(j.folder)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	var found []tokenstore.JournalEntry
	var errs []error
	for _, name := range names {
		e, err := j.read(name)
		switch {
		case errors.Is(err, os.ErrNotExist): // another process has finished it
		case err != nil:
			errs = append(errs, fmt.Errorf("journal entry %s: %w", name, err))
		default:
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b tokenstore.JournalEntry) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Attempt, b.Attempt))
	})
	return found, errors.Join(errs...)
}

func (j *Journal) read(name string) (tokenstore.JournalEntry, error) {
	sealed, err := os.ReadFile(filepath.Join(j.folder, name))
	if err != nil {
		return tokenstore.JournalEntry{}, err
	}
	plain, err := j.seal.Decrypt(sealed, []byte(name))
	if err != nil {
		return tokenstore.JournalEntry{}, fmt.Errorf(
			"it cannot be opened with the key %s.key: put the right key back from your backup", j.folder,
		)
	}
	var w wire
	if json.Unmarshal(plain, &w) != nil {
		return tokenstore.JournalEntry{}, errors.New("it was written by another version of tokenward")
	}
	r, err := tokenstore.DecodeRecord(w.Record)
	if len(r.Slips) > 0 { // a commit takes the tokens alone
		err = nil
	}
	return tokenstore.JournalEntry{
		Attempt: strings.TrimSuffix(name, suffix),
		Account: w.Account,
		Spent:   w.Spent,
		At:      w.At,
		Record:  r,
	}, err
}
