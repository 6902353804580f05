package tokenstore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// RefreshAccount refreshes one account on an operator's wish and waits for the result. A token that still lives and is
// not due is left alone, and a credential that may be spent is not presented before the provider's replay policy allows, unless
// force is set; force also overrides a quarantine. ErrUnknownAccount, ErrPaused, or the context's error; a refusal by the token endpoint
// is a result, not an error.
func (s *Store) RefreshAccount(ctx context.Context, id record.ID, force bool) (RefreshResult, error) {
	a := s.account(id)
	if a == nil {
		_ = s.reload(id) // perhaps it was added this very moment
		if a = s.account(id); a == nil {
			return RefreshResult{}, fmt.Errorf("%w: %s", ErrUnknownAccount, id)
		}
	}
	st := s.status(a, time.Now())
	res := RefreshResult{ID: id, GenerationBefore: st.Generation, GenerationAfter: st.Generation, ExpiresAt: st.ExpiresAt}
	switch {
	case st.State == StatePaused:
		return RefreshResult{}, fmt.Errorf("%w: %s", ErrPaused, st.Reason)
	case st.State == StateConfigError:
		res.Outcome, res.Class, res.Error = Failed, record.RefreshMisconfigured, st.Cause
		return res, nil
	case st.State == StateNeedsReauth && !force:
		res.Outcome, res.Class, res.Error = Failed, record.RefreshPermanent, st.Cause
		return res, nil
	case st.State == StateAmbiguous && !force:
		if at := a.replayAt(time.Now()); !at.IsZero() {
			res.Outcome, res.Class, res.Retryable, res.Error = Skipped, record.RefreshUnknown, true, doubtful(at)
			return res, nil
		}
	case st.Routable && st.State == StateActive && !force && !a.unproven():
		res.Outcome = Fresh
		return res, nil
	}
	for {
		f := s.joinFlight(a, st.Generation, record.TriggerOperator, force)
		select {
		case <-f.done:
		case <-ctx.Done():
			return RefreshResult{}, context.Cause(ctx)
		}
		if force && !f.force && f.result.Outcome == Failed {
			select { // another's refresh holds back where a forced one goes on
			case <-f.landed:
				continue
			case <-ctx.Done():
			}
		}
		return f.result, nil
	}
}

// Statuses returns what may be shown of all accounts, ordered by id.
func (s *Store) Statuses() []AccountStatus {
	all, now := s.all(), time.Now()
	out := make([]AccountStatus, len(all))
	for i, a := range all {
		out[i] = s.status(a, now)
	}
	return out
}

// Status returns what may be shown of one account; ErrUnknownAccount.
func (s *Store) Status(id record.ID) (AccountStatus, error) {
	a := s.account(id)
	if a == nil {
		return AccountStatus{}, fmt.Errorf("%w: %s", ErrUnknownAccount, id)
	}
	return s.status(a, time.Now()), nil
}

func (s *Store) status(a *account, now time.Time) AccountStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, t := a.record, a.token.Load()
	st := AccountStatus{
		ID: a.id, Provider: r.Provider, Kind: r.Kind, Pools: r.Serves(), Tenant: r.Tenant, Labels: r.Labels, Limits: r.Limits, Version: a.version,
		Last: r.Rotation.Last, NextRefresh: a.due, Failovers: a.failovers.Load(), Requests: a.requests.Load(),
	}
	if t != nil {
		st.Generation, st.ExpiresAt, st.Fingerprint = t.generation, t.expires, t.fingerprint
	}
	if a.cooldown.Until.After(now) {
		st.Cooldowns = []Cooldown{a.cooldown}
		st.Cooldowns[0].Probe = time.Unix(0, a.coolUntil.Load()).UTC()
	}
	bench := a.benched(now)
	if bench != nil && bench.until != never {
		until := time.Unix(0, bench.until).UTC()
		st.Cooldowns = append(st.Cooldowns, Cooldown{Scope: ScopeAccount, Until: until, Probe: until, Reason: bench.class.String()})
	}
	st.FailingSince, st.LastError = a.failingLocked()
	usable := a.problem == nil && !r.OnHold()
	st.Refreshable = usable && a.flawLocked() == nil && a.quarantine == "" && a.driver != nil && a.driver.Refreshable(r)
	alive := t != nil && now.UnixNano() < t.usableUntil && (bench == nil || bench.until != never)
	st.Routable = usable && len(st.Cooldowns) == 0 && bench == nil && (alive || st.Refreshable && !a.retryAt.After(now))
	d := a.suspicion.Load()
	overdue := st.Refreshable && t != nil && (d != nil && d.ask || !a.renewalLocked(t, s.cfg.Renewal.Lead).After(now))
	st.Remarks = remarks(r, a.driver, s.cfg.Pools)
	st.State, st.Cause = a.condition(r, alive, overdue, bench, now, join(a.suspicionWords(), a.waitingLocked()))
	a.tellLocked(&st, s.cfg, now)
	return st
}

// suspicionWords says that the token is used after better ones; "" when it is not.
func (a *account) suspicionWords() string {
	if d := a.suspicion.Load(); d != nil && !d.bench {
		return "a request was refused with its token (" + d.class.String() + "): others are preferred until it is " +
			"accepted, replaced, or a minute is over"
	}
	return ""
}

// condition names the account's state. why tells what is wrong with it wherever the state alone does not say it.
func (a *account) condition(r record.Record, alive, overdue bool, bench *suspicion, now time.Time, why string) (AccountState, string) {
	if a.deleted && a.problem == nil {
		return StatePaused, WhyDeleted
	}
	if state, why := standing(a.id, r, cmp.Or(a.problem, a.flawLocked()), a.quarantine); state != StateActive {
		return state, why
	}
	switch {
	case a.cooldown.Until.After(now):
		return StateCooling, a.cooldown.Reason
	case bench != nil && bench.class == ClassTokenRejected:
		return StateCooling, "the provider refuses its token (token_rejected)"
	case bench != nil:
		return StateCooling, bench.class.String()
	case !alive:
		return StateExpired, why
	case overdue, !a.due.IsZero() && !a.due.After(now):
		return StateExpiring, why
	}
	return StateActive, why
}

// tellLocked adds what the sentence on the account needs, and the sentence.
func (a *account) tellLocked(st *AccountStatus, cfg Config, now time.Time) {
	t := a.token.Load()
	st.Refused = t != nil && t.refused.Load()
	if st.Routable && len(st.Cooldowns) == 0 {
		st.Full = a.full(now)
	}
	if t != nil && a.driver != nil && a.problem == nil {
		st.ReplayAt = a.replayAtLocked(t)
	}
	if st.State == StateAmbiguous && !st.NextRefresh.IsZero() && st.NextRefresh.Before(st.ReplayAt) {
		st.NextRefresh = st.ReplayAt // what is planned before finds another process's mark, and sends nothing
	}
	readable := a.problem == nil || len(a.record.Slips) > 0
	if !readable { // or it was decoded, and this configuration cannot use it
		err := Check(a.record, cfg.Drivers, cfg.Pools)
		readable = err != nil && err.Error() == a.problem.Error()
	}
	st.Mend = mend(a.id, a.record, a.problem, readable, cfg.Pools)
	say := *st
	if a.flight != nil { // planned when it ends, and known already
		say.NextRefresh = a.retryAt
	}
	st.Reason = say.Advice(now)
}
