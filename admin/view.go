package admin

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// Account is the API's account object.
type Account struct {
	ID               tokenstore.AccountID    `json:"accountId"`
	Provider         string                  `json:"provider"`
	Type             tokenstore.Kind         `json:"type"`
	Pools            []string                `json:"pools"`
	Tenant           string                  `json:"tenant"`
	Labels           map[string]string       `json:"labels"`
	Limits           *Limits                 `json:"limits"` // null: none
	State            tokenstore.AccountState `json:"state"`
	Routable         bool                    `json:"routable"`
	Refreshable      bool                    `json:"refreshable"`
	Reason           string                  `json:"reason"`
	ExpiresAt        *time.Time              `json:"expiresAt"` // null: never
	ExpiresInSeconds *int64                  `json:"expiresInSeconds"`
	NextRefreshAt    *time.Time              `json:"nextRefreshAt"`
	Generation       tokenstore.Generation   `json:"generation"`
	Version          tokenstore.Version      `json:"version"`
	Fingerprint      string                  `json:"fingerprint"`
	Cooldowns        []Cooldown              `json:"cooldowns"`
	LastRefresh      *LastRefresh            `json:"lastRefresh"`
	Failovers        uint64                  `json:"failovers"`
	Requests         uint64                  `json:"requests"`
}

// Limits is the API's limits object; 0: no such limit.
type Limits struct {
	RPM         int `json:"rpm"`
	Concurrency int `json:"concurrency"`
}

// Cooldown is the API's cooldown object.
type Cooldown struct {
	Scope  string    `json:"scope"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// LastRefresh is the API's record of the latest refresh.
type LastRefresh struct {
	At             time.Time               `json:"at"`
	Trigger        tokenstore.Trigger      `json:"trigger"`
	Result         string                  `json:"result"`
	Class          tokenstore.RefreshClass `json:"class,omitempty"`
	UpstreamStatus int                     `json:"upstreamStatus,omitempty"`
	Error          string                  `json:"error,omitempty"`
}

// Result is the API's result of one refresh.
type Result struct {
	ID               tokenstore.AccountID      `json:"accountId"`
	Result           tokenstore.RefreshOutcome `json:"result"`
	GenerationBefore tokenstore.Generation     `json:"generationBefore"`
	GenerationAfter  tokenstore.Generation     `json:"generationAfter"`
	ExpiresAt        *time.Time                `json:"expiresAt"`
	Class            tokenstore.RefreshClass   `json:"class,omitempty"`
	UpstreamStatus   int                       `json:"upstreamStatus,omitempty"`
	Retryable        bool                      `json:"retryable"`
	Error            string                    `json:"error,omitempty"`
	DurationMs       int64                     `json:"durationMs"`
}

func accountView(s tokenstore.AccountStatus, now time.Time) Account {
	a := Account{
		ID: s.ID, Provider: s.Provider, Type: s.Kind, Pools: s.Pools, Tenant: s.Tenant, Labels: s.Labels, State: s.State, Routable: s.Routable,
		Refreshable: s.Refreshable, Reason: s.Reason, ExpiresAt: moment(s.ExpiresAt), NextRefreshAt: moment(s.NextRefresh), Generation: s.Generation,
		Version: s.Version, Fingerprint: s.Fingerprint, Cooldowns: []Cooldown{}, Failovers: s.Failovers, Requests: s.Requests,
	}
	if a.ExpiresAt != nil {
		left := int64(s.ExpiresAt.Sub(now) / time.Second)
		a.ExpiresInSeconds = &left
	}
	if l := s.Limits; l.RPM > 0 || l.Concurrency > 0 {
		a.Limits = &Limits{l.RPM, l.Concurrency}
	}
	if a.Pools == nil {
		a.Pools = []string{} // the contract promises a list
	}
	for _, c := range s.Cooldowns {
		a.Cooldowns = append(a.Cooldowns, Cooldown{c.Scope.String(), c.Until.UTC(), c.Reason})
	}
	if l := s.Last; l != nil {
		a.LastRefresh = &LastRefresh{l.At.UTC(), l.Trigger, l.Result, l.Class, l.Status, l.Error}
	}
	return a
}

func resultView(r tokenstore.RefreshResult) Result {
	return Result{r.ID, r.Outcome, r.GenerationBefore, r.GenerationAfter, moment(r.ExpiresAt), r.Class, r.Status, r.Retryable, r.Error, r.Duration.Milliseconds()}
}

// summarise counts by a key; total is always there.
func summarise[T any](items []T, key func(T) string) map[string]int {
	m := map[string]int{"total": len(items)}
	for _, i := range items {
		m[key(i)]++
	}
	return m
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
