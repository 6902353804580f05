package provider_test

import (
	"fmt"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/provider"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func ExampleNew() {
	driver, err := provider.New("idp", provider.Settings{Driver: "oauth2", TokenURL: "https://idp.example/token"})
	if err != nil {
		fmt.Println(err)
		return
	}
	record := tokenstore.Record{Kind: tokenstore.KindOAuthRefresh, AccessToken: tokenstore.NewSecret("at")}
	for _, h := range driver.Headers(record) {
		fmt.Println(h.Name, "=", h.Value)
	}
	verdict := driver.Classify(tokenstore.Response{Status: 401, Header: tokenstoretest.Header{
		"www-authenticate": `Bearer error="invalid_token"`,
	}})
	fmt.Println(verdict.Class, verdict.Scope)

	// Output:
	// authorization = Bearer at
	// token_rejected account
}
