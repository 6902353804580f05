package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// FuzzUnsealing: a file, as it is or the inside of one with the right passphrase, is a sealed file with accounts or an
// error on one line.
func FuzzUnsealing(f *testing.F) {
	before := scryptWork
	scryptWork = 2
	f.Cleanup(func() { scryptWork = before })
	path := filepath.Join(f.TempDir(), "sealed.age")
	if err := seal(path, passOf, sealedFile{Format: sealedFormat}); err != nil {
		f.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		"", "{}", "null", `{"format":"tokenward-accounts/1","accounts":{"a":{"provider":"p","type":"k"},"../b":null}}`,
		`{"format":"tokenward-accounts/1","accounts":[]}`, "age-encryption.org/v1\n-> scrypt AAAA 99\n", string(sound), string(sound[:len(sound)-1]),
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, inside bool) {
		if inside {
			data = sealedBytes(t, data)
		} else if bytes.Contains(data, []byte("scrypt")) && !bytes.Equal(data, sound) {
			t.Skip("its work factor may ask for minutes, which age bounds")
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := unseal(path, passOf)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %q", err)
		}
		if err == nil && got.Format != sealedFormat {
			t.Errorf("format %q was taken", got.Format)
		}
	})
}

func sealedBytes(t *testing.T, plain []byte) []byte {
	t.Helper()
	r, err := age.NewScryptRecipient(passOf)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(scryptWork)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
