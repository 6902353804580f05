package admin

import (
	"context"

	"github.com/tokenward/tokenward/tokenstore"
)

// Tokens is what the admin edge asks of the domain. *tokenstore.Store fits.
type Tokens interface {
	Statuses() []tokenstore.AccountStatus
	// RefreshAccount waits for the result. A refusal by the token endpoint is a result; errors are
	// tokenstore.ErrUnknownAccount, tokenstore.ErrPaused, or the context's.
	RefreshAccount(ctx context.Context, id tokenstore.AccountID, force bool) (tokenstore.RefreshResult, error)
	// NotReady returns why the service should not get traffic.
	NotReady() []string
	// Degraded returns what is wrong although the service serves.
	Degraded() []string
}
