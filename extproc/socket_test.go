package extproc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASocketsPathMayBeAsLongAsTheKernelAllows(t *testing.T) {
	folder, err := os.MkdirTemp("", "socket") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, strings.Repeat("s", 107-len(folder)-1)) // sun_path less its NUL (unix(7))
	first, err := takeOver(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := takeOver(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 || !Served(t.Context(), "unix:"+path) {
		t.Errorf("after a take-over the folder holds %v (%v)", left, err)
	}
	for _, l := range []interface{ Close() error }{first, second} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
