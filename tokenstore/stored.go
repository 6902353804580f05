package tokenstore

import (
	"cmp"
	"errors"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/rotation"
)

// StoredStatus is what a record alone says of its account, in the words of the running service. err is what loading the
// record gave. Cooldowns, limits in use and the next renewal are known to the service only.
func StoredStatus(
	id record.ID, r record.Record, err error, drivers map[string]Driver, pools map[string]PoolConfig, now time.Time,
) AccountStatus {
	r = r.OfItsKind()
	st := AccountStatus{
		ID: id, Provider: r.Provider, Kind: r.Kind, Pools: r.Serves(), Tenant: r.Tenant, Labels: r.Labels, Limits: r.Limits,
		Generation: r.Rotation.Generation, ExpiresAt: r.ExpiresAt, Last: r.Rotation.Last,
	}
	d := drivers[r.Provider]
	problem := err
	var flaw error // of the credential; the token serves on
	switch {
	case errors.Is(err, rotation.ErrDeleted):
		st.State, st.Cause = StatePaused, WhyDeleted
	case !record.Legible(r, err):
		st.State, st.Cause = StateConfigError, err.Error()
	default:
		problem = Check(r, drivers, pools)
		flaw = record.Flaw(r)
		st.State, st.Cause = standing(id, r, cmp.Or(problem, flaw), record.Quarantined(id, r))
	}
	if problem == nil {
		st.Fingerprint = record.Fingerprint(id, d.Token(r))
		usable := !r.OnHold()
		st.Refreshable = usable && st.State != StateNeedsReauth && flaw == nil && d.Refreshable(r)
		st.Routable = usable && (st.lives(now) || st.Refreshable)
		st.ReplayAt = rotation.ReplayOf(d, r, st.lives(now))
		st.Remarks = remarks(r, d, pools)
	}
	st.FailingSince, st.LastError = record.Failing(id, r)
	st.Mend = mend(id, r, problem, record.Legible(r, err), pools)
	st.Reason = st.Advice(now)
	return st
}

// Standing is StoredStatus for a record that could be read, in short: the state, and the sentence on it.
func Standing(
	id record.ID, r record.Record, drivers map[string]Driver, pools map[string]PoolConfig,
) (AccountState, string) {
	st := StoredStatus(id, r, nil, drivers, pools, time.Now())
	return st.State, st.Reason
}
