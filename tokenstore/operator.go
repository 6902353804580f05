package tokenstore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// RefreshAccount refreshes one account on an operator's wish and waits for the result. A token that still lives and is
// not due is left alone, and a credential that may be spent is not presented before the provider's replay policy
// allows, unless force is set; force also overrides a quarantine. ErrUnknownAccount, ErrPaused, or the context's error;
// a refusal by the token endpoint is a result, not an error.
func (s *Store) RefreshAccount(ctx context.Context, id record.ID, force bool) (rotation.RefreshResult, error) {
	a := s.keeper.Account(id)
	if a == nil {
		_ = s.keeper.Reload(id) // perhaps it was added this very moment
		if a = s.keeper.Account(id); a == nil {
			return rotation.RefreshResult{}, fmt.Errorf("%w: %s", ErrUnknownAccount, id)
		}
	}
	now := time.Now()
	st := s.status(a, now)
	res := rotation.RefreshResult{
		ID:               id,
		GenerationBefore: st.Generation,
		GenerationAfter:  st.Generation,
		ExpiresAt:        st.ExpiresAt,
	}
	switch {
	case st.State == StatePaused:
		return rotation.RefreshResult{}, fmt.Errorf("%w: %s", rotation.ErrPaused, st.Reason)
	case st.State == StateConfigError:
		res.Outcome, res.Class, res.Error = rotation.Failed, record.RefreshMisconfigured, st.Cause
		return res, nil
	case st.State == StateNeedsReauth && !force:
		res.Outcome, res.Class, res.Error = rotation.Failed, record.RefreshPermanent, st.Cause
		return res, nil
	case st.State == StateAmbiguous && !force:
		if at := st.ReplayAt; at.After(now) {
			res.Outcome, res.Class, res.Retryable, res.Error = rotation.Skipped, record.RefreshUnknown, true, rotation.InDoubt(
				at,
			)
			return res, nil
		}
	case st.Routable && st.State == StateActive && !force && !a.Snapshot(now).Unproven:
		res.Outcome = rotation.Fresh
		return res, nil
	}
	for {
		f := s.keeper.JoinForced(a, st.Generation, record.TriggerOperator, force)
		select {
		case <-f.Done():
		case <-ctx.Done():
			return rotation.RefreshResult{}, context.Cause(ctx)
		}
		if force && !f.Forced() && f.Result().Outcome == rotation.Failed {
			select { // another's refresh holds back where a forced one goes on
			case <-f.Landed():
				continue
			case <-ctx.Done():
			}
		}
		return f.Result(), nil
	}
}

// Statuses returns what may be shown of all accounts, ordered by id.
func (s *Store) Statuses() []AccountStatus {
	all, now := s.keeper.All(), time.Now()
	out := make([]AccountStatus, len(all))
	for i, a := range all {
		out[i] = s.status(a, now)
	}
	return out
}

// Status returns what may be shown of one account; ErrUnknownAccount.
func (s *Store) Status(id record.ID) (AccountStatus, error) {
	a := s.keeper.Account(id)
	if a == nil {
		return AccountStatus{}, fmt.Errorf("%w: %s", ErrUnknownAccount, id)
	}
	return s.status(a, time.Now()), nil
}

func (s *Store) status(a *rotation.Account, now time.Time) AccountStatus {
	l, at := a.Snapshot(now), seatOf(a)
	d, bench := at.Suspicion(), at.Benched(now)
	r, t := l.Record, l.Token
	st := AccountStatus{
		ID:          a.ID(),
		Provider:    r.Provider,
		Kind:        r.Kind,
		Pools:       r.Serves(),
		Tenant:      r.Tenant,
		Labels:      r.Labels,
		Limits:      r.Limits,
		Version:     l.Version,
		Last:        r.Rotation.Last,
		NextRefresh: l.Due,
		Failovers:   at.Failovers(),
		Requests:    at.Requests(),
	}
	if t != nil {
		st.Generation, st.ExpiresAt, st.Fingerprint, st.Refused = t.Generation, t.Expires, t.Fingerprint, l.Refused
	}
	cooling := at.Cooling(now)
	if cooling != nil {
		st.Cooldowns = []Cooldown{*cooling}
	}
	if bench != nil && bench.Until != selection.Never {
		until := instantOf(bench.Until)
		st.Cooldowns = append(st.Cooldowns,
			Cooldown{Scope: verdict.ScopeAccount, Until: until, Probe: until, Reason: bench.Class.String()})
	}
	st.FailingSince, st.LastError = l.FailingSince, l.LastError
	usable := l.Problem == nil && !r.OnHold()
	st.Refreshable = l.Refreshable
	alive := at.HasToken(now.UnixNano()) && (bench == nil || bench.Until != selection.Never)
	st.Routable = usable && len(st.Cooldowns) == 0 && bench == nil && (alive || st.Refreshable && !l.RetryAt.After(now))
	overdue := st.Refreshable && t != nil && (d != nil && d.Ask || !l.RenewalAt.After(now))
	st.Remarks = remarks(r, s.cfg.Drivers[r.Provider], s.cfg.Pools)
	if st.Routable && len(st.Cooldowns) == 0 {
		st.Full = at.Full(now)
	}
	st.State, st.Cause = standingOf(a.ID(), l)
	if st.State == StateActive {
		why := join(suspicionWords(d), l.Waits)
		st.State, st.Cause = working(st, alive, overdue, cooling, bench, now, why)
	}
	s.tellMore(&st, l, now)
	return st
}

// instantOf is an instant in Unix nanoseconds as a time; zero for 0.
func instantOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// suspicionWords say that the token is used after better ones; "" when it is not.
func suspicionWords(d *selection.Suspicion) string {
	if d == nil || d.Bench {
		return ""
	}
	return "a request was refused with its token (" + d.Class.String() + "): others are preferred until it is accepted, " +
		"replaced, or a minute is over"
}

// standingOf is active when neither the record nor the credential is what keeps the account from serving.
func standingOf(id record.ID, l rotation.Snapshot) (AccountState, string) {
	if l.Deleted && l.Problem == nil {
		return StatePaused, WhyDeleted
	}
	return standing(id, l.Record, cmp.Or(l.Problem, l.Unfit), l.Quarantine)
}

// working names the state of an account whose record and credential are fine. why tells what is wrong with it wherever
// the state alone does not say it.
func working(
	st AccountStatus, alive, overdue bool, cooling *Cooldown, bench *selection.Suspicion, now time.Time, why string,
) (AccountState, string) {
	switch {
	case cooling != nil:
		return StateCooling, cooling.Reason
	case bench != nil && bench.Class == verdict.ClassTokenRejected:
		return StateCooling, "the provider refuses its token (token_rejected)"
	case bench != nil:
		return StateCooling, bench.Class.String()
	case !alive:
		return StateExpired, why
	case overdue, !st.NextRefresh.IsZero() && !st.NextRefresh.After(now):
		return StateExpiring, why
	}
	return StateActive, why
}

// tellMore adds what the sentence on the account needs, and the sentence.
func (s *Store) tellMore(st *AccountStatus, l rotation.Snapshot, now time.Time) {
	st.ReplayAt = l.ReplayAt
	if st.State == StateAmbiguous && !st.NextRefresh.IsZero() && st.NextRefresh.Before(st.ReplayAt) {
		st.NextRefresh = st.ReplayAt // what is planned before finds another process's mark, and sends nothing
	}
	readable := l.Problem == nil || len(l.Record.Slips) > 0
	if !readable { // or it was decoded, and this configuration cannot use it
		err := Check(l.Record, s.cfg.Drivers, s.cfg.Pools)
		readable = err != nil && err.Error() == l.Problem.Error()
	}
	st.Mend = mend(st.ID, l.Record, l.Problem, readable, s.cfg.Pools)
	say := *st
	if l.InFlight { // planned when it ends, and known already
		say.NextRefresh = l.RetryAt
	}
	st.Reason = say.Advice(now)
}
