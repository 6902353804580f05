package tokenstore

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

func zapDuration(k string, d time.Duration) zap.Field { return zap.Int64(k+"_ms", d.Milliseconds()) }

// event writes one of the events of docs/events.md: info tells the story of an incident, the steady state is silent.
func (s *Store) event(name string, a *rotation.Account, fields ...zap.Field) {
	if a != nil {
		provider := a.Record().Provider
		fields = append([]zap.Field{zap.String("account", string(a.ID())), zap.String("provider", provider)}, fields...)
	}
	s.tell(name, append(fields, s.advice(name, a)...)...)
}

// eventOf writes an event about the account of a pick, unless it was removed meanwhile.
func (s *Store) eventOf(name string, p Pick, fields ...zap.Field) {
	if a := s.keeper.Account(p.Account); a != nil {
		s.event(name, a, append(p.who(), fields...)...)
	}
}

// told are the events of accounts whose state changes: they carry the sentence on the account.
var told = map[string]bool{
	"account_quarantined": true,
	"account_recovered":   true,
	"account_paused":      true,
	"account_resumed":     true,
	"cooldown_set":        true,
	"cooldown_released":   true,
	"refresh_failed":      true,
	"config_rejected":     true,
}

// advice is the field that says what to do.
func (s *Store) advice(event string, a *rotation.Account) []zap.Field {
	if a == nil || !told[event] {
		return nil
	}
	if say := s.status(a, time.Now()).Reason; say != "" {
		return []zap.Field{zap.String("advice", say)}
	}
	return nil
}

// tell writes an event in its sentence.
func (s *Store) tell(name string, fields ...zap.Field) {
	how, ok := events[name]
	if !ok {
		how.sentence = strings.ReplaceAll(name, "_", " ")
	}
	s.log.Log(how.level, how.sentence, append([]zap.Field{zap.String("event", name)}, fields...)...)
}

// who names the request and the attempt that an event is about.
func (q PickRequest) who() []zap.Field { return who(q.RequestID, q.Trail.Attempts()+1) }

func (p Pick) who() []zap.Field { return who(p.request, p.attempt) }

func who(request string, attempt int) []zap.Field {
	if request == "" {
		return nil
	}
	return []zap.Field{zap.String("request_id", request), zap.Int("attempt", attempt)}
}

// served names whom an attempt's answer is about.
func (p Pick) served(more ...zap.Field) []zap.Field {
	account := []zap.Field{zap.String("account", string(p.Account)), zap.String("provider", p.Provider)}
	return slices.Concat(p.who(), account, more)
}

// tokenExpired marks the moment a token was found dead, once per generation.
func (s *Store) tokenExpired(a *rotation.Account, who ...zap.Field) {
	if !a.InFlight() {
		s.event("token_expired_detected", a, append(who, zap.Uint64("generation", uint64(seatOf(a).Generation())))...)
	}
}

func (s *Store) noteRefresh(a *rotation.Account, trigger record.Trigger, r rotation.RefreshResult) {
	provider := known(a.Record().Provider, s.cfg.Drivers)
	s.metrics.refreshes.WithLabelValues(provider, string(trigger), string(r.Outcome), string(r.Class)).Inc()
	fields := []zap.Field{zap.String("trigger", string(trigger)), zapDuration("duration", r.Duration)}
	switch r.Outcome {
	case rotation.Refreshed:
		fields = append(fields, zap.Uint64("generation", uint64(r.GenerationAfter)))
		if !r.ExpiresAt.IsZero() {
			fields = append(fields, zap.Time("expires_at", r.ExpiresAt))
		}
		s.event("refresh_succeeded", a, fields...)
	case rotation.Failed:
		s.event(
			"refresh_failed",
			a,
			append(fields, zap.String("class", string(r.Class)), zap.Int("upstream_status", r.Status),
				zap.String("error", r.Error))...)
	case rotation.Fresh, rotation.Adopted, rotation.Skipped:
	}
}

func (s *Store) classified(p Pick, v verdict.Verdict, resp verdict.Response) {
	s.log.Info(wordsOf[v.Class], p.served(
		zap.String("event", "upstream_classified"), zap.String("upstream", p.Upstream), zap.Int("status", resp.Status),
		zap.String("class", v.Class.String()), zap.String("scope", v.Scope.String()), zap.String("code", v.Code),
		zap.String("detail", resp.Detail))...)
}

func (s *Store) faulted(p Pick, v verdict.Verdict) {
	s.tell("request_faulted", p.served(
		zap.String("route", p.route.Name), zap.String("class", v.Class.String()), zap.String("code", v.Code))...)
}

func (s *Store) decided(p Pick, d Decision) {
	switch d.Action {
	case Retry:
		s.tell("retry_decided", p.served(zap.String("class", d.Verdict.Class.String()),
			zap.Int("attempts", d.Trail.Attempts()), zapDuration("waited", d.Waited))...)
	case Refuse:
		s.refused(p.route, d.Refusal, p.served()...)
	case Pass, Peek:
	}
}

func (s *Store) noteFailover(q PickRequest, u *selection.Upstream, to record.ID) {
	tried := q.Trail.Tried()
	last := tried[len(tried)-1]
	if last.Account == to {
		return
	}
	s.metrics.failovers.WithLabelValues(s.metrics.label(last.Account), last.Upstream, u.Name, last.Class.String()).Inc()
	fields := append(q.who(), zap.String("to", string(to)), zap.String("upstream", u.Name),
		zap.String("class", last.Class.String()))
	from := s.keeper.Account(last.Account)
	if from == nil { // removed meanwhile
		s.tell("failover_decided", append(fields, zap.String("account", string(last.Account)))...)
		return
	}
	seatOf(from).NoteFailover()
	s.event("failover_decided", from, fields...)
}

func (s *Store) refused(r *selection.Route, ref *verdict.Refusal, who ...zap.Field) {
	name := ""
	if r != nil {
		name = r.Name
	}
	s.tell("request_refused", append(
		who, zap.String("route", name), zap.String("class", string(ref.Reason)), zap.String("message", ref.Message))...)
}

// Panicked counts and logs a panic that was caught: the service goes on.
func (s *Store) Panicked(where string, p any, stack []byte) {
	s.metrics.panics.Inc()
	s.log.Error("a panic was caught; the service goes on", zap.String("in", where), zap.String("panic", fmt.Sprint(p)),
		zap.ByteString("stack", stack))
}
