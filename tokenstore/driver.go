package tokenstore

import (
	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// Driver is our code for one provider: its token endpoint, its request headers, its error dialect. One Driver serves
// all accounts of a provider entry of the configuration. Safe for concurrent use.
type Driver interface {
	rotation.Redeemer
	Dialect
}

// Dialect is how a provider's attempts and answers look. Safe for concurrent use.
type Dialect interface {
	// Headers returns the headers an attempt with the record's access token must carry. Called when a token is
	// installed, not per attempt.
	Headers(r record.Record) []verdict.Header

	// Classify says what a provider's answer means. Pure.
	Classify(resp verdict.Response) verdict.Verdict

	// Room reports whether the headers of an accepted answer show that no limit of the account is used up. False when they
	// do not say. Pure.
	Room(h verdict.HeaderGetter) bool

	// Shape renders a refusal of our own in the provider's error format: content type and body. Pure.
	Shape(ref verdict.Refusal) (contentType string, body []byte)
}
