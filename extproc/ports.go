package extproc

import (
	"context"

	"github.com/tokenward/tokenward/tokenstore"
)

// Tokens is what a stream asks: the two calls of the data plane. *tokenstore.Store fits. Panicked counts and logs a
// panic that was caught.
type Tokens interface {
	Pick(ctx context.Context, q tokenstore.PickRequest) (tokenstore.Pick, error)
	Report(
		ctx context.Context, p tokenstore.Pick, r tokenstore.Response, t *tokenstore.Trail, h tokenstore.Holder,
	) (tokenstore.Decision, error)
	Panicked(where string, p any, stack []byte)
}
