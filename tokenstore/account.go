package tokenstore

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// never is the instant after all others, in Unix nanoseconds.
const never = math.MaxInt64

// token is one generation of an account's access token. Immutable but for refused.
type token struct {
	generation  Generation
	expires     time.Time // zero: unknown, it is used until it is refused
	obtained    time.Time
	begins      time.Time     // obtained, or when this process met it if the record does not say or is ahead of our clock
	hint        time.Duration // how long it may live, if expires does not say; 0: unknown
	usableUntil int64         // Unix nanoseconds: expiry less the skew; never when endless
	headers     []Header
	fingerprint string
	jitter      float64     // of the renewal, drawn once
	refreshed   bool        // got by a refresh of this process, so that accepted tells all
	refused     atomic.Bool // the provider refused this generation
	accepted    atomic.Bool // the provider has accepted it once
}

// account is the process's picture of one account. Picks read the atomics; everything else is behind mu.
type account struct {
	id    AccountID
	lives *lifespans // the store's

	random func() float64 // the store's

	token     atomic.Pointer[token]     // nil: none yet; set by setTokenLocked
	liveUntil atomic.Int64              // the token can serve before, Unix nanoseconds; 0: there is none, or it is suspect
	coolUntil atomic.Int64              // not selectable before, Unix nanoseconds; then one attempt probes; 0: no cooldown
	wakeFrom  atomic.Int64              // earliest refresh for a pick that finds no living token; never: not refreshable
	inflight  atomic.Int64              // attempts between pick and release
	limits    atomic.Pointer[limiter]   // nil: none
	suspicion atomic.Pointer[suspicion] // why the token serves only when no better one can; nil: no reason
	pardoned  atomic.Int64              // when an operator ended its limits: older evidence of one is void; Unix nanoseconds
	resetAt   atomic.Int64              // when the cooldown ends by the provider's word, Unix nanoseconds
	troubled  atomic.Bool               // strikes, evidence or a cooldown are on file: the next success looks at them
	requests  atomic.Uint64

	acceptedAt atomic.Int64 // when the latest accepted attempt was picked, to about a second; Unix nanoseconds
	failovers  atomic.Uint64

	mu           sync.Mutex // guards what follows; no I/O under it
	record       Record
	version      Version
	driver       Driver  // nil: unknown provider
	problem      error   // why the record cannot be used; nil when it can
	foreign      error   // the same: it is another account's
	foreignSpent bool    // and was exchanged by it
	search       bool    // all accounts are to be searched for its refresh token: it did not come by a refresh
	flaw         error   // why its credential cannot be used; the access token serves on
	former       *Former // the credential that an operator replaced by hand, until a claim writes it down
	removed      bool
	highest      Generation // ever installed; an operator may erase the record's count

	quarantine  string    // why only a human can revive the credential; "": it is fine
	recheck     time.Time // with a quarantine: when it is put to the test; zero: never
	mended      bool      // what grants are made of has changed since the latest one: put it to the test now
	unsavedDead *Dead     // what the record does not say of it yet
	unwritten   Outcome   // the latest failure, if it is not in the record
	cooldown    Cooldown
	cooledAt    time.Time // when it began
	strikes     int       // consecutive rate limits without a reset time
	evidence    evidence
	reminder    *time.Timer // ends the suspicion
	respondedAt time.Time   // of the latest refresh that an answer caused and that has not proved right
	failures    int         // consecutive failed refreshes
	due         time.Time   // next renewal; zero: none planned
	retryAt     time.Time   // no refresh before: pause after a failure, or until a replay is worth its risk
	rotated     bool        // the operator wrote a new credential: use it at once
	flight      *flight
	claimSeen   string    // attempt id of a foreign claim
	claimSince  time.Time // first seen by us, monotonic
	doubtful    string    // attempt id of a refresh that ended without a readable answer: its credential may be spent
	doubtSince  time.Time // monotonic
	told        [2]string // what was last logged of the record's slips and of its end
	deleted     bool      // the backend keeps the record but marks it deleted
	spent       []uint64  // short fingerprints of credentials that were exchanged for others, the latest last
	lost        *lost     // to be saved again
	orphans     []string  // attempts whose rotations wait in the journal for the record to come back
	awaits      bool      // the latest refresh failed for want of the store
	goneAt      time.Time // when the record was found gone
}

// living reports whether the account can serve an attempt at once.
func (a *account) living(now int64) bool {
	return now < a.liveUntil.Load() && a.coolUntil.Load() <= now
}

// setTokenLocked makes t the token that picks use; nil: none. What was held against its predecessor is history.
func (a *account) setTokenLocked(t *token) {
	a.token.Store(t)
	if a.evidence.class == ClassTokenRejected {
		a.evidence = evidence{}
	}
	d := a.suspicion.Load()
	if d != nil && d.class == ClassTokenRejected {
		a.suspicion.Store(nil)
		d = nil
	}
	if t == nil || d != nil {
		a.liveUntil.Store(0)
		return
	}
	a.liveUntil.Store(t.usableUntil)
}

// wakeable reports whether the account could serve an attempt after a refresh that may start now.
func (a *account) wakeable(now int64) bool {
	return a.wakeFrom.Load() <= now && a.coolUntil.Load() <= now
}

func (a *account) generation() Generation {
	if t := a.token.Load(); t != nil {
		return t.generation
	}
	return 0
}

// newToken prepares what picks will need of the record's access token.
func newToken(id AccountID, r Record, d Driver, gen Generation, jitter float64) *token {
	t := &token{
		generation: gen, expires: r.ExpiresAt, obtained: r.ObtainedAt, usableUntil: never,
		begins: r.ObtainedAt, hint: hintOf(d, r),
		jitter: jitter, headers: d.Headers(r), fingerprint: Fingerprint(id, d.Token(r)),
	}
	if now := time.Now(); t.begins.IsZero() || t.begins.After(now) {
		t.begins = now
	}
	if !r.ExpiresAt.IsZero() {
		t.usableUntil = r.ExpiresAt.Add(-skewOf(t.lifetime())).UnixNano()
	}
	return t
}

// unproven reports whether the token was refreshed within the last minute and never accepted: if it is refused, another
// refresh will not help, and asking for one on every request would hammer the token endpoint.
func (t *token) unproven() bool {
	return t.refreshed && !t.accepted.Load() && time.Since(t.obtained) < suspectFor
}

// lifetime is the token's whole life; an hour when the record does not say when it began.
func (t *token) lifetime() time.Duration {
	if t.obtained.IsZero() || !t.obtained.Before(t.expires) {
		return time.Hour
	}
	return t.expires.Sub(t.obtained)
}

// adopt takes over a record read from or written to the backend. It reports whether the operator changed what the
// account may do, so that pools have to be rebuilt, and what the record has lost. What was read before something newer was
// adopted is ignored.
func (a *account) adopt(r stored, cfg *Config) (changed bool, l *lost) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.overtakenLocked(r) || a.flight != nil && a.flight.saving {
		return false, nil // old news; or a commit is under way, which meets the change as a conflict
	}
	a.spendLocked(r.record.Rotation.Spent...)
	if l = a.regainLocked(r); l != nil {
		r.record = l.entry.Record
	}
	a.lost = l                                   // what an older version had lost is none of this one's
	before, mended := a.record, a.problem != nil // pools leave out an account with a problem
	known := a.version != 0 && before.Provider != ""
	r.record = givenBack(a.id, r.record.keyed())
	replaced := known && !before.Credential().Equal(r.record.Credential())
	a.carryLocked(&r.record, replaced)
	a.flaw = Flaw(r.record)
	a.keepKeyLocked(&r.record)
	a.record, a.version, a.driver, a.problem, a.deleted = r.record, r.version, cfg.Drivers[r.record.Provider], Check(r.record, cfg.Drivers, cfg.Pools), false
	if a.problem == nil && a.record.Kind == KindAPIKey {
		a.problem = Flaw(a.record) // there is no other to serve with
	}
	changed = !known || mended || before.OnHold() != a.record.OnHold() || before.Tenant != a.record.Tenant || before.Provider != a.record.Provider || !slices.Equal(before.Pools, a.record.Pools)
	if l := a.record.Limits; l.RPM != before.Limits.RPM || l.Concurrency != before.Limits.Concurrency {
		a.limits.Store(newLimiter(l, a.limits.Load()))
	}
	if a.problem != nil {
		a.setTokenLocked(nil)
		a.wakeFrom.Store(never)
		a.due = time.Time{}
		return true, l
	}
	switch {
	case !known:
	case replaced:
		a.foreign, a.foreignSpent = nil, false
		a.failures, a.doubtful = 0, "" // a new credential starts with a clean sheet
		a.retryAt = rescuedAt(a.id, a.record)
		a.unwritten = Outcome{}
		a.search = a.record.Rotation.Generation <= before.Rotation.Generation
		a.rotated = a.search && a.givenLocked(before)
		a.replacedLocked(before)
		if a.rotated {
			a.pardonLocked(false)
		}
	case before.Rotation.Resumed != a.record.Rotation.Resumed, before.OnHold() && !a.record.OnHold(), before.grantsDifferently(a.record):
		a.failures, a.retryAt, a.unwritten = 0, time.Time{}, Outcome{} // why it was to wait is over, or nobody knows
		a.mended = true
		a.pardonLocked(true)
	}
	if before.Rotation.Generation < a.record.Rotation.Generation {
		a.unwritten = Outcome{} // a peer was luckier
	}
	a.diagnoseLocked()
	a.convictLocked()
	a.installLocked(a.record, cfg.Renewal.Lead)
	return changed, l
}

// overtakenLocked reports whether memory has moved on since the read or write began, to the same version or a newer one.
// Versions may restart when a record is deleted and made again: then a lower one is news.
func (a *account) overtakenLocked(r stored) bool {
	return a.version != r.known && r.version <= a.version
}

// unusable notes that the record is there but cannot be used, so that nobody knows whom it may serve. A record that is
// deleted for now counts as paused by the operator. The token is kept for when the record comes back.
func (s *Store) unusable(a *account, err error, r stored) {
	a.mu.Lock()
	deletion := errors.Is(err, ErrDeleted)
	if a.overtakenLocked(r) && !deletion { // a deletion does not change the version
		a.mu.Unlock()
		return
	}
	news := deletion && !a.deleted
	if deletion {
		a.record.State, a.deleted, a.version = Paused, true, 0 // undeleted, it comes back with the version it had
	} else {
		a.problem, a.version = err, r.version
	}
	a.claimSeen = "" // nobody could save meanwhile: when the record is back, a claim in it gets its whole lease
	a.wakeFrom.Store(never)
	a.due = time.Time{}
	a.mu.Unlock()
	if news {
		s.event("account_paused", a, zapString("reason", WhyDeleted))
	}
	s.renewals.wake(a)
	s.rebuildSoon()
}

// installLocked makes the record's access token the one that picks use, if it is newer, and plans its renewal.
func (a *account) installLocked(r Record, lead time.Duration) {
	cur := a.token.Load()
	switch value := a.driver.Token(r); {
	case value.IsZero():
		a.setTokenLocked(nil)
	case cur == nil || cur.fingerprint != Fingerprint(a.id, value) || !cur.expires.Equal(r.ExpiresAt):
		if r.Rotation.Generation <= a.highest {
			a.acceptedAt.Store(0) // no refresh brought it: that its predecessor was accepted says nothing
		}
		a.highest = max(r.Rotation.Generation, a.highest+1)
		a.setTokenLocked(newToken(a.id, r, a.driver, a.highest, a.random()))
	}
	a.planLocked(lead)
}

// planLocked sets when the account is renewed next and whether a pick may wake it.
func (a *account) planLocked(lead time.Duration) {
	wake, due := a.planOfLocked(lead)
	a.wakeFrom.Store(wake) // once: a pick between two values would take the account for dead
	a.due = due
}

// planOfLocked is the earliest refresh that a pick may cause, and the next renewal; never and zero: none.
func (a *account) planOfLocked(lead time.Duration) (wake int64, due time.Time) {
	if a.removed || a.driver == nil || a.problem != nil || a.record.OnHold() || !a.driver.Refreshable(a.record) {
		return never, due
	}
	if a.quarantine != "" {
		switch {
		case a.flight != nil:
		case len(a.formersLocked(a.record)) > 0: // to be put back
			due = later(time.Now(), a.retryAt)
		case !a.recheck.IsZero():
			due = later(a.recheck, a.retryAt)
		}
		return never, due
	}
	if a.flawLocked() != nil && len(a.formersLocked(a.record)) == 0 {
		return never, due
	}
	if a.flight != nil { // planned again when it ends; until its token is known, picks may join it
		if a.flight.stuck || a.flight.saving && a.flight.next == nil { // who joins it gets no new token
			return never, due
		}
		return 0, due
	}
	t, soonest := a.token.Load(), a.soonestLocked()
	if !soonest.IsZero() {
		wake = soonest.UnixNano()
	}
	switch {
	case t == nil || a.graceOpenLocked() || t.refused.Load(),
		(a.rotated || a.record.Former != nil) && a.flawLocked() == nil,
		a.unsureLocked() && !a.evidence.doubted.IsZero():
		due = later(time.Now(), soonest)
	default:
		due = later(a.renewalLocked(t, lead), soonest)
	}
	return wake, due
}

// unsureLocked reports whether the credential may be spent: a refresh ended without a readable answer.
func (a *account) unsureLocked() bool {
	c := a.record.Rotation.Claim
	return c != nil && c.AttemptID == a.doubtful
}

// soonestLocked is the earliest instant of a refresh that nobody forces, derived anew from what is known; zero: now.
func (a *account) soonestLocked() time.Time {
	at, t := a.retryAt, a.token.Load()
	if t == nil {
		return at
	}
	if a.unsureLocked() {
		at = later(at, a.replayAtLocked(t))
	}
	if t.refused.Load() && !a.respondedAt.IsZero() {
		at = later(at, a.respondedAt.Add(responsePause))
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// condemnedByAnswers is what earlier versions wrote when answers of the provider, not of the token endpoint, spoke against a
// credential. Such a word is not believed any more.
const condemnedByAnswers = "its tokens are refused right after a refresh"
