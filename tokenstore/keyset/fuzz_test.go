package keyset_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tokenward/tokenward/tokenstore/keyset"
)

// FuzzKeyFile: a key file is a key that seals and opens, or is refused.
func FuzzKeyFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "key")
	if _, err := keyset.Open(path, true); err != nil {
		f.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add(sound[:len(sound)/2])
	for _, s := range []string{"", "{}", "null", "[]", `{"primaryKeyId":1,"key":[]}`, `{"primaryKeyId":1,"key":[{"keyData":null,"keyId":1}]}`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := keyset.Open(path, true)
		if err != nil {
			return
		}
		sealed, err := a.Encrypt([]byte("plain"), []byte("name"))
		if err != nil {
			t.Fatalf("a key that was taken does not seal: %v", err)
		}
		if plain, err := a.Decrypt(sealed, []byte("name")); err != nil || string(plain) != "plain" {
			t.Fatalf("a key that was taken does not open what it sealed: %v", err)
		}
		if _, err := a.Decrypt(sealed, []byte("other")); err == nil {
			t.Fatal("what was sealed for one name opens for another")
		}
	})
}
