package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/journal"
)

// A rotation outlives its process until it is in the store.
func ExampleOpen() {
	folder, err := os.MkdirTemp("", "tokenward")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	j, err := journal.Open(filepath.Join(folder, "journal")) // its key: FOLDER.key, made if missing
	if err != nil {
		fmt.Println(err)
		return
	}
	rotated := tokenstore.Record{
		Provider: "acme", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret("rt-1"),
	}
	err = j.Append(tokenstore.JournalEntry{
		Attempt: "0123456789abcdef", Account: "acme-1", At: time.Now(), Record: rotated,
	})
	fmt.Println(err)
	entries, err := j.Entries()
	fmt.Println(len(entries), entries[0].Account, err)
	fmt.Println(j.Remove("0123456789abcdef"))

	// Output:
	// <nil>
	// 1 acme-1 <nil>
	// <nil>
}
