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
	// what to do, whether it serves and what is wrong, in one sentence: see Advice; "" when all is well
	Reason   string
	Cause    string    // what is wrong, without what to do about it
	Mend     string    // what puts right a wrong record: a command in backticks, or words
	Refused  bool      // the provider refuses the token, whatever its end
	Full     *Full     // at one of its own limits
	ReplayAt time.Time // ambiguous: when the credential is presented once more; zero: not known
	// what is wrong with its record although it can be used, whatever the state: one sentence per key
	Remarks     []string
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

// ErrUnknownAccount is of operator calls, to be matched with errors.Is.
var ErrUnknownAccount = errors.New("unknown account")
