package tokenstoretest_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// The driver rotates as strict providers do: each refresh token works once.
func ExampleDriver() {
	driver := tokenstoretest.NewDriver()
	record := tokenstore.Record{Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret("rt-0")}
	grant, err := driver.Refresh(context.Background(), record)
	fmt.Println(grant.AccessToken.Reveal(), grant.RefreshToken.Reveal(), err)
	_, err = driver.Refresh(context.Background(), record)
	fmt.Println(err != nil, driver.Calls())

	// Output:
	// at-1 rt-1 <nil>
	// true 2
}

// A record can be edited behind the store's back, as operators do.
func ExampleMemory() {
	ctx := context.Background()
	backend := tokenstoretest.NewMemory()
	version, err := backend.CompareAndSwap(ctx, "acme-1", tokenstore.Record{
		Provider: "acme", Kind: tokenstore.KindAPIKey, APIKey: tokenstore.NewSecret("key"),
	}, 0)
	fmt.Println(version, err)

	backend.Patch("acme-1", map[string]json.RawMessage{"state": json.RawMessage(`"paused"`)})
	record, version, err := backend.Load(ctx, "acme-1")
	fmt.Println(version, record.State, err)

	_, err = backend.CompareAndSwap(ctx, "acme-1", record, version-1)
	fmt.Println(err)

	// Output:
	// 1 <nil>
	// 2 paused <nil>
	// record changed by somebody
}
