package journal_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tokenward/tokenward/tokenstore/journal"
	"github.com/tokenward/tokenward/tokenstore/keyset"
)

// FuzzEntries: a file in the journal's folder, as it is or sealed with the right key and name, is an entry or an error,
// and hides no other entry.
func FuzzEntries(f *testing.F) {
	folder := filepath.Join(f.TempDir(), "journal")
	j, err := journal.Open(folder)
	if err != nil {
		f.Fatal(err)
	}
	if err := j.Append(entry("good")); err != nil {
		f.Fatal(err)
	}
	seal, err := keyset.Open(folder+".key", false)
	if err != nil {
		f.Fatal(err)
	}
	const name = "fuzzed.rotation"
	sound, err := os.ReadFile(filepath.Join(folder, "good.rotation"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound, false)
	f.Add(sound[:len(sound)-1], false)
	for _, plain := range []string{
		"", "null", "{}", "[]", `{"at":"2026-01-01T00:00:00Z","account":"a","spent":"0123","record":{"provider":"p","type":"k"}}`,
		`{"at":"0000","account":"../a","record":{}}`, `{"account":"a","record":null}`, `{"record":{"provider":"p","type":"k","state":"pausd"}}`,
	} {
		f.Add([]byte(plain), true)
		f.Add([]byte(plain), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed {
			if data, err = seal.Encrypt(data, []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := j.Entries()
		good := 0
		for _, e := range found {
			if e.Attempt == "good" {
				good++
			}
		}
		if good != 1 || len(found) == 1 && err == nil || len(found) > 2 {
			t.Errorf("%d entries, %d of them sound: %v", len(found), good, err)
		}
	})
}
