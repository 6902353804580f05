package tokenstore

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// RefreshAccount refreshes one account on an operator's wish and waits for the result. A token that still lives and is
// not due is left alone, and a credential that may be spent is not presented before the provider's replay policy allows, unless
// force is set; force also overrides a quarantine. ErrUnknownAccount, ErrPaused, or the context's error; a refusal by the token endpoint
// is a result, not an error.
func (s *Store) RefreshAccount(ctx context.Context, id AccountID, force bool) (RefreshResult, error) {
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
		res.Outcome, res.Class, res.Error = Failed, RefreshMisconfigured, st.Reason
		return res, nil
	case st.State == StateNeedsReauth && !force:
		res.Outcome, res.Class, res.Error = Failed, RefreshPermanent, st.Reason
		return res, nil
	case st.State == StateAmbiguous && !force:
		if at := a.replayAt(time.Now()); !at.IsZero() {
			res.Outcome, res.Class, res.Retryable, res.Error = Skipped, RefreshUnknown, true, doubtful(at)
			return res, nil
		}
	case st.Routable && st.State == StateActive && !force && !a.unproven():
		res.Outcome = Fresh
		return res, nil
	}
	for {
		f := s.joinFlight(a, st.Generation, TriggerOperator, force)
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
func (s *Store) Status(id AccountID) (AccountStatus, error) {
	a := s.account(id)
	if a == nil {
		return AccountStatus{}, fmt.Errorf("%w: %s", ErrUnknownAccount, id)
	}
	return s.status(a, time.Now()), nil
}

// NotReady returns why the service should not get traffic; none: it is ready. Without its store it is ready for as long as a
// token lives.
func (s *Store) NotReady() []string {
	if !s.loaded.Load() {
		if far := s.loading.Load(); far != nil {
			return []string{errNotLoaded.Error() + ": " + *far}
		}
		return []string{errNotLoaded.Error()}
	}
	if accounts, living, _ := s.serving(); accounts > 0 && living == 0 && !s.contact.up() {
		return []string{"the store does not answer, and no account has a living token any more"}
	}
	return nil
}

// Degraded returns what is wrong although the service serves; none: all is well.
func (s *Store) Degraded() []string {
	var why []string
	if trouble := s.contact.trouble(); trouble != "" {
		why = append(why, trouble)
	}
	if n := s.unsaved.Load(); n > 0 {
		why = append(why, fmt.Sprintf("%d rotated credentials are in memory and not yet in the store", n))
	}
	if s.journalDown.Load() {
		why = append(why, "the journal cannot be written: a crash before a rotation is saved would lose its account")
	}
	if accounts, _, able := s.serving(); accounts > 0 && able == 0 {
		why = append(why, fmt.Sprintf("none of %d accounts can serve now: see tokenward status", accounts))
	}
	return why
}

// serving counts the accounts, those whose token lives, and those that can serve an attempt, at once or after a refresh.
func (s *Store) serving() (accounts, living, able int) {
	now := time.Now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.accounts {
		if now < a.liveUntil.Load() {
			living++
		}
		if a.living(now) || a.wakeable(now) {
			able++
		}
	}
	return len(s.accounts), living, able
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
	}
	usable := a.problem == nil && !r.OnHold()
	st.Refreshable = usable && a.flawLocked() == nil && a.quarantine == "" && a.driver != nil && a.driver.Refreshable(r)
	alive := t != nil && now.UnixNano() < t.usableUntil && !t.refused.Load()
	st.Routable = usable && len(st.Cooldowns) == 0 && (alive || st.Refreshable && !a.retryAt.After(now))
	st.State, st.Reason = a.condition(r, t, alive, now, remark(r, s.cfg.Pools))
	return st
}

// condition names the account's state and why it is not active, or remarks on it.
func (a *account) condition(r Record, t *token, alive bool, now time.Time, remark string) (AccountState, string) {
	if a.deleted && a.problem == nil {
		return StatePaused, WhyDeleted
	}
	if state, why := standing(r, cmp.Or(a.problem, a.flawLocked()), a.quarantine); state != StateActive {
		return state, why
	}
	why := strings.Trim(lastFailure(r)+"; "+remark, "; ")
	switch {
	case a.cooldown.Until.After(now) && a.cooldown.Reason == "token_rejected":
		return StateCooling, "token_rejected: the provider refuses its token; if that goes on, give it a new credential with tokenward accounts add"
	case a.cooldown.Until.After(now):
		return StateCooling, a.cooldown.Reason
	case t != nil && t.refused.Load():
		return StateExpired, "the provider refuses this token before its time"
	case !alive:
		return StateExpired, why
	case !a.due.IsZero() && !a.due.After(now):
		return StateExpiring, why
	}
	return StateActive, remark
}
