package tokenstore

import (
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// AccountState is an account's condition in one word, for people; routing uses Routable and Refreshable.
type AccountState string

// Account states.
const (
	StateActive      AccountState = "active"
	StateExpiring    AccountState = "expiring" // renewal is due or overdue, the token still lives
	StateExpired     AccountState = "expired"
	StateCooling     AccountState = "cooling"
	StateNeedsReauth AccountState = "needs_reauth" // quarantined: a new credential is needed
	StateConfigError AccountState = "config_error"
	StatePaused      AccountState = "paused"
	StateAmbiguous   AccountState = "ambiguous" // a grant was sent and no readable answer came
)

// AccountStatus is what people and tools may know of an account: no secrets.
type AccountStatus struct {
	ID          record.ID
	Provider    string
	Kind        record.Kind
	Pools       []string
	Tenant      string
	Labels      map[string]string
	Limits      record.Limits // an account that is at its limits is active and routable all the same
	State       AccountState
	Routable    bool
	Refreshable bool
	Reason      string    // what to do, whether it serves and what is wrong, in one sentence: see Advice; "" when all is well
	Cause       string    // what is wrong, without what to do about it
	Mend        string    // what puts right a wrong record: a command in backticks, or words
	Refused     bool      // the provider refuses the token, whatever its end
	Full        *Full     // at one of its own limits
	ReplayAt    time.Time // ambiguous: when the credential is presented once more; zero: not known
	Remarks     []string  // what is wrong with its record although it can be used, whatever the state: one sentence per key
	ExpiresAt   time.Time
	NextRefresh time.Time // zero: none planned
	Generation  record.Generation
	Version     record.Version
	Fingerprint string // of the access token
	Cooldowns   []Cooldown
	Last        *record.Outcome

	FailingSince time.Time // of the current credential: the first failed refresh since the latest success; zero: none
	LastError    string    // with FailingSince: why the latest one failed

	Failovers uint64 // attempts that were moved away from it
	Requests  uint64 // attempts it was picked for
}

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

// Errors of operator calls, to be matched with errors.Is.
var (
	ErrUnknownAccount = errors.New("unknown account")
	ErrPaused         = errors.New("account is paused")
)
