package rotation

import (
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// RefreshOutcome is how a requested refresh ended.
type RefreshOutcome string

// Outcomes of a requested refresh.
const (
	Refreshed RefreshOutcome = "refreshed"
	Fresh     RefreshOutcome = "fresh"   // nothing to do: the token lives and force was not set
	Adopted   RefreshOutcome = "adopted" // another process had already got a newer token
	Failed    RefreshOutcome = "failed"
	Skipped   RefreshOutcome = "skipped" // paused, static, or not usable: see Error
)

// RefreshResult is the answer to a requested refresh of one account.
type RefreshResult struct {
	ID               record.ID
	Outcome          RefreshOutcome
	GenerationBefore record.Generation
	GenerationAfter  record.Generation
	ExpiresAt        time.Time
	Class            record.RefreshClass // when failed
	Status           int                 // HTTP status of the token endpoint when failed, 0 without an answer
	Retryable        bool                // a later try may succeed without a human
	Error            string
	Duration         time.Duration
}

// ErrPaused is of a refresh of an account that an operator has paused, to be matched with errors.Is.
var ErrPaused = errors.New("account is paused")
