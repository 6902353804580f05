package private

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile puts a file (0600) in the place of what is at the path, whole or not at all. What is there is replaced,
// never written into or followed.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
