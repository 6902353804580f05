// Package api is the admin API's objects as they are on the wire: the server in admin and the commands in cli share
// them. It imports nothing of ours and holds no rules; the contract with its words is admin/openapi.yaml. A field that
// is named here stays. Times are UTC, and no object holds a secret.
package api

import "time"

// Statuses answers GET /api/admin/oauth/refresh.
type Statuses struct {
	Accounts []Account `json:"accounts"`
	Summary  Summary   `json:"summary"` // by state
}

// Summary counts things by a word of theirs; "total" is always there.
type Summary map[string]int

// Account is an account as the running service sees it.
type Account struct {
	ID               string            `json:"accountId"`
	Provider         string            `json:"provider"`
	Type             string            `json:"type"`
	Pools            []string          `json:"pools"`
	Tenant           string            `json:"tenant"`
	Labels           map[string]string `json:"labels"`
	Limits           *Limits           `json:"limits"` // null: none
	State            string            `json:"state"`
	Routable         bool              `json:"routable"`    // may serve attempts
	Refreshable      bool              `json:"refreshable"` // may get a new token
	Reason           string            `json:"reason"`      // one sentence, with what to do; "": all is well
	ExpiresAt        *time.Time        `json:"expiresAt"`   // null: never, or not known
	ExpiresInSeconds *int64            `json:"expiresInSeconds"`
	NextRefreshAt    *time.Time        `json:"nextRefreshAt"`
	Generation       uint64            `json:"generation"`
	Version          uint64            `json:"version"`
	Fingerprint      string            `json:"fingerprint"` // of the access token
	Cooldowns        []Cooldown        `json:"cooldowns"`
	LastRefresh      *LastRefresh      `json:"lastRefresh"`
	Failovers        uint64            `json:"failovers"`
	Requests         uint64            `json:"requests"`
}

// Limits are what each process may give an account; 0: no such limit.
type Limits struct {
	RPM         int `json:"rpm"`
	Concurrency int `json:"concurrency"`
}

// Cooldown is why an account is left out, and until when.
type Cooldown struct {
	Scope  string    `json:"scope"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// LastRefresh tells of an account's latest refresh.
type LastRefresh struct {
	At             time.Time `json:"at"`
	Trigger        string    `json:"trigger"`
	Result         string    `json:"result"` // succeeded | failed
	Class          string    `json:"class,omitempty"`
	UpstreamStatus int       `json:"upstreamStatus,omitempty"` // HTTP status of the token endpoint
	Error          string    `json:"error,omitempty"`
}

// Result is what became of one refresh.
type Result struct {
	ID               string     `json:"accountId"`
	Result           string     `json:"result"` // refreshed | fresh | adopted | failed | skipped
	GenerationBefore uint64     `json:"generationBefore"`
	GenerationAfter  uint64     `json:"generationAfter"`
	ExpiresAt        *time.Time `json:"expiresAt"` // null: never, or not known
	Class            string     `json:"class,omitempty"`
	UpstreamStatus   int        `json:"upstreamStatus,omitempty"`
	Retryable        bool       `json:"retryable"`
	Error            string     `json:"error,omitempty"`
	DurationMs       int64      `json:"durationMs"`
}

// Job is a refresh of all accounts, done or under way.
type Job struct {
	Done    bool     `json:"done"`
	ID      string   `json:"jobId"`
	Results []Result `json:"results"` // of those that have one, by account
	Summary Summary  `json:"summary"` // by result; total is of all accounts
}

// JobStarted answers a refresh of all accounts that takes longer than the caller waits.
type JobStarted struct {
	ID string `json:"jobId"`
}

// Problem is RFC 9457's problem detail. Type is stable; Detail says what was tried, what is wrong, what to do.
type Problem struct {
	Type           string  `json:"type"`
	Title          string  `json:"title"`
	Status         int     `json:"status"`
	Detail         string  `json:"detail"`
	Class          string  `json:"class,omitempty"`
	UpstreamStatus int     `json:"upstreamStatus,omitempty"`
	Retryable      *bool   `json:"retryable,omitempty"`
	Result         *Result `json:"result,omitempty"`
}

// Readiness answers /readyz.
type Readiness struct {
	Reasons []string `json:"reasons,omitempty"` // why the service is not ready, or degraded
	Status  string   `json:"status"`            // ready | degraded | not_ready
}

// Health answers /healthz.
type Health struct {
	Status string `json:"status"` // ok
}

// Time returns t as the objects have it: in UTC, nil for none.
func Time(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
