package admin

import (
	"time"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

func accountView(s tokenstore.AccountStatus, now time.Time) api.Account {
	a := api.Account{
		ID: string(s.ID), Provider: s.Provider, Type: string(s.Kind), Pools: s.Pools, Tenant: s.Tenant, Labels: s.Labels,
		State: string(s.State), Routable: s.Routable, Refreshable: s.Refreshable, Reason: s.Reason,
		ExpiresAt: api.Time(s.ExpiresAt), NextRefreshAt: api.Time(s.NextRefresh), Generation: uint64(s.Generation),
		Version: uint64(s.Version), Fingerprint: s.Fingerprint, Cooldowns: []api.Cooldown{}, Failovers: s.Failovers,
		Requests: s.Requests,
	}
	if a.ExpiresAt != nil {
		left := int64(s.ExpiresAt.Sub(now) / time.Second)
		a.ExpiresInSeconds = &left
	}
	if l := s.Limits; l.RPM > 0 || l.Concurrency > 0 {
		a.Limits = &api.Limits{RPM: l.RPM, Concurrency: l.Concurrency}
	}
	if a.Pools == nil {
		a.Pools = []string{} // the contract promises a list
	}
	for _, c := range s.Cooldowns {
		a.Cooldowns = append(a.Cooldowns, api.Cooldown{Scope: c.Scope.String(), Until: c.Until.UTC(), Reason: c.Reason})
	}
	if l := s.Last; l != nil {
		a.LastRefresh = &api.LastRefresh{
			At: l.At.UTC(), Trigger: string(l.Trigger), Result: l.Result, Class: string(l.Class), UpstreamStatus: l.Status,
			Error: l.Error,
		}
	}
	return a
}

func resultView(r tokenstore.RefreshResult) api.Result {
	return api.Result{
		ID: string(r.ID), Result: string(r.Outcome), GenerationBefore: uint64(r.GenerationBefore),
		GenerationAfter: uint64(r.GenerationAfter), ExpiresAt: api.Time(r.ExpiresAt), Class: string(r.Class),
		UpstreamStatus: r.Status, Retryable: r.Retryable, Error: r.Error, DurationMs: r.Duration.Milliseconds(),
	}
}

// summarise counts by a key.
func summarise[T any](items []T, key func(T) string) api.Summary {
	m := api.Summary{"total": len(items)}
	for _, i := range items {
		m[key(i)]++
	}
	return m
}
