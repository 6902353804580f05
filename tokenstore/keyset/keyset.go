// Package keyset keeps the AEAD key that seals secrets on this host's disk: a Tink keyset in a file of its own.
package keyset

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Open reads the keyset, or creates it (0600) when it is missing and mayCreate says that nothing was sealed with it
// yet. A file that others can read is refused. Safe when several processes start at once.
func Open(path string, mayCreate bool) (tink.AEAD, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && !mayCreate:
		return nil, fmt.Errorf(
			"its key %s is missing, and without it no record can be opened: put the key file back from your backup", path,
		)
	case errors.Is(err, os.ErrNotExist):
		if err := create(path); err != nil {
			return nil, fmt.Errorf("creating the key %s: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("reading the key %s: %w", path, err)
	case st.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf(
			"the key %s can be read by others (mode %04o): chmod 600 it, and consider its records as disclosed", path,
			st.Mode().Perm(),
		)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key %s: %w", path, err)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	var a tink.AEAD
	if err == nil {
		a, err = aead.New(h)
	}
	if err != nil { // it is not shown: it may tell of the key
		return nil, fmt.Errorf("the key %s is no Tink keyset of AEAD keys: put the right file back from your backup", path)
	}
	return a, nil
}

// create writes a fresh keyset. Of two processes that start at once one wins, and both use the winner's: the complete
// file is linked into place, which fails if the name is taken.
func create(path string) error {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(buf.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes the names of a folder durable.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
