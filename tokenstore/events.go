package tokenstore

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

func zapString(k, v string) zap.Field                 { return zap.String(k, v) }
func zapDuration(k string, d time.Duration) zap.Field { return zap.Int64(k+"_ms", d.Milliseconds()) }
func zapError(err error) zap.Field                    { return zap.Error(err) }

// event writes one of the events of the interface: info tells the story of an incident, the steady state is silent.
func (s *Store) event(name string, a *account, fields ...zap.Field) {
	if a != nil {
		a.mu.Lock()
		provider := a.record.Provider
		a.mu.Unlock()
		fields = append([]zap.Field{zap.String("account", string(a.id)), zap.String("provider", provider)}, fields...)
	}
	s.log.Info(name, append([]zap.Field{zap.String("event", name)}, fields...)...)
}

// tokenExpired marks the moment a token was found dead, once per generation.
func (s *Store) tokenExpired(a *account) {
	a.mu.Lock()
	first := a.flight == nil
	a.mu.Unlock()
	if first {
		s.event("token_expired_detected", a, zap.Uint64("generation", uint64(a.generation())))
	}
}

func (s *Store) noteRefresh(a *account, trigger Trigger, r RefreshResult) {
	a.mu.Lock()
	provider := a.record.Provider
	a.mu.Unlock()
	s.metrics.refreshes.WithLabelValues(provider, string(trigger), string(r.Outcome), string(r.Class)).Inc()
	fields := []zap.Field{zap.String("trigger", string(trigger)), zapDuration("duration", r.Duration)}
	switch r.Outcome {
	case Refreshed:
		fields = append(fields, zap.Uint64("generation", uint64(r.GenerationAfter)), zap.Time("expires_at", r.ExpiresAt))
		s.event("refresh_succeeded", a, fields...)
	case Failed:
		s.event("refresh_failed", a, append(fields, zap.String("class", string(r.Class)), zap.Int("upstream_status", r.Status), zap.String("error", r.Error))...)
	case Fresh, Adopted, Skipped:
	}
}

func (s *Store) classified(p Pick, v Verdict, resp Response) {
	s.log.Info("upstream_classified", zap.String("event", "upstream_classified"), zap.String("account", string(p.Account)), zap.String("provider", p.Provider),
		zap.String("upstream", p.Upstream), zap.Int("status", resp.Status), zap.String("class", v.Class.String()), zap.String("scope", v.Scope.String()),
		zap.String("code", v.Code), zap.String("detail", resp.Detail))
}

func (s *Store) faulted(p Pick, v Verdict) {
	s.log.Info("request_faulted", zap.String("event", "request_faulted"), zap.String("account", string(p.Account)), zap.String("provider", p.Provider),
		zap.String("route", p.route.name), zap.String("class", v.Class.String()), zap.String("code", v.Code))
}

func (s *Store) decided(p Pick, d Decision) {
	if d.Action != Retry {
		return
	}
	s.log.Info("retry_decided", zap.String("event", "retry_decided"), zap.String("account", string(p.Account)), zap.String("provider", p.Provider),
		zap.String("class", d.Verdict.Class.String()), zap.Int("attempts", len(d.Trail.tried)), zapDuration("waited", d.Waited))
}

func (s *Store) noteFailover(t *Trail, u *upstream, a *account) {
	last := t.tried[len(t.tried)-1]
	if last.account == a.id {
		return
	}
	s.metrics.failovers.WithLabelValues(string(last.account), last.upstream, u.name, last.class.String()).Inc()
	if from := s.account(last.account); from != nil {
		from.failovers.Add(1)
	}
	s.log.Info("failover_decided", zap.String("event", "failover_decided"), zap.String("account", string(last.account)), zap.String("to", string(a.id)),
		zap.String("upstream", u.name), zap.String("class", last.class.String()))
}

func (s *Store) refused(r *route, ref *Refusal) {
	name := ""
	if r != nil {
		name = r.name
	}
	s.log.Warn("request_refused", zap.String("event", "request_refused"), zap.String("route", name), zap.String("class", string(ref.Reason)), zap.String("message", ref.Message))
}

func (s *Store) panicked(where string, p any, stack []byte) {
	s.metrics.panics.Inc()
	s.log.Error("a panic was caught; the service goes on", zap.String("in", where), zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", stack))
}
