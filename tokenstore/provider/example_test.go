package provider_test

import (
	"fmt"
	"net/http"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/provider"
)

// A driver says what an answer means: what happened, and how far that reaches.
func ExampleNew() {
	d, err := provider.New("claude", provider.Settings{Driver: "anthropic"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, answer := range []tokenstore.Response{
		{Status: 200},
		{Status: 401, Body: []byte(`{"error":{"type":"authentication_error","message":"Invalid bearer token"}}`)},
		{Status: 401, Body: []byte(`{"error":{"type":"permission_error","message":"Not with this key"}}`)},
		{Status: 429, Header: http.Header{"Retry-After": {"30"}}},
	} {
		if answer.Header == nil {
			answer.Header = http.Header{}
		}
		answer.BodyRead = true
		v := d.Classify(answer)
		fmt.Println(answer.Status, v.Class, v.Scope, v.Wait)
	}
	// Output:
	// 200 ok request 0s
	// 401 token_rejected account 0s
	// 401 forbidden request 0s
	// 429 rate_limited account 30s
}
