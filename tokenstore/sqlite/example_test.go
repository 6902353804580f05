package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/sqlite"
)

func ExampleOpen() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "tokenward")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	backend, err := sqlite.Open(ctx, sqlite.Config{
		Path: filepath.Join(folder, "tokenward.db"), KeyFile: filepath.Join(folder, "tokenward.key"), // made if missing
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = backend.Close() }()

	record := tokenstore.Record{Provider: "acme", Kind: tokenstore.KindAPIKey, APIKey: tokenstore.NewSecret("key")}
	version, err := backend.CompareAndSwap(ctx, "acme-1", record, 0) // 0: it must not exist
	fmt.Println(version, err)
	_, err = backend.CompareAndSwap(ctx, "acme-1", record, 0)
	fmt.Println(err)
	heads, err := backend.List(ctx)
	fmt.Println(heads[0].ID, heads[0].Version, err)

	// Output:
	// 1 <nil>
	// record changed by somebody
	// acme-1 1 <nil>
}
