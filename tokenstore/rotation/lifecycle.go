package rotation

import (
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// lifecycle is what this process knows of one account's credential, and of the access token that it brought. It is a
// value without a lock: its transitions are methods that take the time and do no I/O, and Keeper.change is the only
// one to call them.
type lifecycle struct {
	id    record.ID
	cfg   *Settings
	lives *lifespans // what providers' tokens lived so far

	record   record.Record
	version  record.Version
	highest  record.Generation // ever installed; an operator may erase the record's count
	presence presence
	driver   Redeemer // nil: unknown provider
	problem  error    // why the record cannot be used; nil when it can
	token    *Token   // the one that picks use; nil: none

	credential credential
	death      death
	retry      retry
	peer       peerClaim
	doubt      doubt
	memory     memory

	objections  Objections // of providers to the token, as the seat last told
	respondedAt time.Time  // of the latest refresh that an answer caused and that has not proved right
	pardon      Pardon     // what the transition under way forgives: for the seat

	flight *Flight // the running refresh; nil: none
	saving bool    // its token is installed, its record not saved yet
	stuck  bool    // saving takes long: nobody waits for it
	next   *Flight // begins when this one has landed: its new token was found wanting, too; nil: none
}

// presence says whether the backend has the record.
type presence uint8

const (
	present presence = iota
	deleted          // it keeps the record but marks it deleted: undelete brings it back
	removed          // there is none
)

// credential is what is known of the record's credential, apart from how refreshes with it went.
type credential struct {
	flaw         error          // why the secret cannot be a credential; nil: it can. The access token serves on
	foreign      error          // why it is not this account's to use; nil: it is
	foreignSpent bool           // with foreign: the other account has exchanged it
	unclaimed    bool           // nobody has looked yet whose it is: the schedule waits for that
	search       bool           // it came by no refresh: look whether any other account has exchanged it
	given        bool           // an operator wrote it: use it at once
	former       *record.Former // the one that an operator replaced by hand, until a claim writes it down
}

// death is what speaks against the credential for good.
type death struct {
	quarantine string       // why only a human can revive the credential; "": it is fine
	recheck    time.Time    // with a quarantine: when it is put to the test; zero: never
	mended     bool         // an operator changed something since the latest refresh: a recheck is due now
	unsaved    *record.Dead // what the record does not say of it yet
}

// retry is when a failing refresh is tried again.
type retry struct {
	failures    int            // consecutive
	at          time.Time      // no refresh before: pause after a failure
	awaitsStore bool           // the latest refresh failed for want of the store
	unwritten   record.Outcome // the latest failure, if it is not in the record
}

// peerClaim is another process's claim, and since when this process has seen it unchanged.
type peerClaim struct {
	attempt string
	since   time.Time // monotonic
}

// doubt is a refresh that ended without a readable answer: its credential may be spent.
type doubt struct {
	attempt string    // its claim's; "": none
	since   time.Time // when the credential may have been spent, at the latest; monotonic
	noted   time.Time // when this process met the doubt: a refusal from before has had its refresh, this one
	refused time.Time // the earliest refusal of the token after that; zero: none
}

// usable reports whether the record may be used to serve and to refresh.
func (l *lifecycle) usable() bool {
	return l.problem == nil && !l.record.OnHold() && l.presence == present && l.version != 0
}

// refused reports whether the provider refuses the current token and a refresh is wanted.
func (l *lifecycle) refused() bool { return l.token != nil && l.objections.Refused }

func (l *lifecycle) generation() record.Generation {
	if l.token == nil {
		return 0
	}
	return l.token.Generation
}

// unfit is why the credential in the record cannot be used; nil: it can.
func (l *lifecycle) unfit() error {
	if l.credential.flaw != nil {
		return l.credential.flaw
	}
	return l.credential.foreign
}

// heed takes over what the seat knows against the token.
func (l *lifecycle) heed(o Objections, now time.Time) {
	if o.Generation != l.generation() {
		o = Objections{Generation: l.generation()}
	}
	news := o.Latest.After(l.objections.Latest)
	l.objections = o
	switch {
	case o.Since.IsZero():
		l.doubt.refused = time.Time{}
	case news:
		l.heedMark(now)
		if l.doubt.attempt != "" && l.doubt.refused.IsZero() && !o.Latest.Before(l.doubt.noted) {
			l.doubt.refused = o.Latest
		}
	}
}

// overtaken reports whether a record is old news: since its read or write began, memory has adopted this version or a
// later one. If memory has not moved since, a lower version is news: the record was deleted and made again.
func (l *lifecycle) overtaken(r stored) bool { return l.version != r.known && r.version <= l.version }

// adopted takes over a record read from or written to the backend. It returns the rotation that the record has lost;
// nil: none. It ignores old news, and every record while a commit is under way: the commit meets it as a conflict.
func (l *lifecycle) adopted(r stored, now time.Time) *lost {
	if l.overtaken(r) || l.saving {
		return nil
	}
	l.memory.spend(r.record.Rotation.Spent...)
	reverted := l.reverted(r, now)
	if reverted != nil {
		r.record = reverted.entry.Record
	}
	l.memory.lost = reverted // nil, too: what an earlier version had lost, this one has
	before, wasDeleted := l.record, l.presence == deleted && l.record.Provider != ""
	known := l.version != 0 && before.Provider != ""
	next := record.GivenBack(l.id, r.record.OfItsKind())
	replaced := known && !before.Credential().Equal(next.Credential())
	l.carry(&next, replaced)
	l.credential.flaw = record.Flaw(next)
	l.keepKey(&next)
	l.record, l.version, l.presence = next, r.version, present
	l.driver = l.cfg.Redeemers[next.Provider]
	l.credential.unclaimed = true
	l.problem = l.cfg.Check(next)
	if l.problem == nil && next.Kind == record.KindAPIKey {
		l.problem = record.Flaw(next) // keepKey had no good one: there is nothing to serve with
	}
	if l.problem != nil {
		l.token = nil
		return reverted
	}
	switch {
	case wasDeleted && !before.Credential().Equal(next.Credential()): // nothing is known of it
		l.credential.foreign, l.credential.foreignSpent = nil, false
	case !known:
	case replaced:
		l.replaced(before, now)
	case before.Rotation.Resumed != next.Rotation.Resumed, before.OnHold() && !next.OnHold(),
		before.GrantsDifferently(next):
		l.retry = retry{} // the reason to wait may be over
		l.death.mended = true
		l.pardon, l.respondedAt = PardonAll, time.Time{}
	}
	if before.Rotation.Generation < next.Rotation.Generation {
		l.retry.unwritten = record.Outcome{} // a peer's refresh has succeeded since
	}
	l.diagnose()
	l.install(now)
	return reverted
}

// replaced is what follows when the record shows another credential than before: it starts with a clean sheet.
func (l *lifecycle) replaced(before record.Record, now time.Time) {
	l.retry = retry{at: rescuedAt(l.id, l.record, now)}
	l.doubt.attempt = ""
	c := &l.credential
	c.foreign, c.foreignSpent = nil, false
	c.search = l.record.Rotation.Generation <= before.Rotation.Generation
	c.given = c.search && l.isGiven(before)
	l.noteFormer(before, now)
	if c.given {
		l.pardon, l.respondedAt = PardonAccount, time.Time{}
	}
}

// install makes the record's access token the one that picks use, if it is newer.
func (l *lifecycle) install(now time.Time) {
	cur, r := l.token, l.record
	switch value := l.driver.Token(r); {
	case value.IsZero():
		l.token = nil
	case cur == nil || cur.Fingerprint != record.Fingerprint(l.id, value) || !cur.Expires.Equal(r.ExpiresAt):
		given := r.Rotation.Generation <= l.highest
		l.highest = max(r.Rotation.Generation, l.highest+1)
		l.token = newToken(l.id, r, l.driver, l.highest, l.cfg.Random(), now)
		l.token.Given = given
	}
}

// unreadable notes that the record is there but cannot be used, so that nobody knows whom it may serve. The token is
// kept for when the record comes back. A record that is deleted for now counts as paused; news: it was not deleted
// before.
func (l *lifecycle) unreadable(err error, deletion bool, r stored) (news bool) {
	if l.overtaken(r) && !deletion { // a deletion does not change the version
		return false
	}
	if deletion {
		news = l.presence != deleted
		l.presence, l.record.State = deleted, record.Paused
		l.version = 0 // undeleted, it comes back with the version it had
	} else {
		l.problem, l.version = err, r.version
	}
	l.peer.attempt = "" // its holder cannot save meanwhile: when the record is back, its claim gets a whole lease
	return news
}

// gone notes that the backend has no record any more.
func (l *lifecycle) gone() {
	l.presence, l.version, l.token = removed, 0, nil
}

// granted installs what a refresh has brought, before anything else can go wrong, and returns what is to be saved.
func (l *lifecycle) granted(c *claimed, g Grant, now time.Time) JournalEntry {
	gen := max(c.record.Rotation.Generation, l.highest) + 1
	next := c.fulfilled(g, gen, l.id, now)
	l.learn(g, now)
	// Whoever began it: the schedule may be quicker than the attempt that was refused.
	fromRefusal := c.trigger == record.TriggerResponse || l.refused()
	l.exchanged(c, next)
	l.retry, l.death.mended = retry{}, false
	t := newToken(l.id, next, c.driver, gen, l.cfg.Random(), now)
	t.RefreshedAt = now
	if t.hint == 0 {
		t.hint = g.Hint
	}
	l.token = t
	if fromRefusal {
		l.respondedAt = now
	}
	return c.entry(l.id, next, now)
}

// rescued keeps the refresh token of an answer whose access token cannot be used, and returns what is to be saved.
func (l *lifecycle) rescued(c *claimed, fresh record.Secret, e *RefreshError, now time.Time) JournalEntry {
	next := c.rescued(fresh, max(c.record.Rotation.Generation, l.highest)+1, l.id, e, now)
	l.exchanged(c, next)
	l.retry.unwritten = record.Outcome{}
	return c.entry(l.id, next, now)
}

// exchanged takes over a record whose credential came from the token endpoint. Its version stays our claim's: what
// others wrote since, the commit meets as a conflict.
func (l *lifecycle) exchanged(c *claimed, next record.Record) {
	l.saving = l.flight != nil
	l.record, l.version, l.highest = next, c.version, next.Rotation.Generation
	l.death.quarantine, l.death.unsaved = "", nil
	l.credential.given, l.credential.former = false, nil
	l.doubt.attempt = ""
	l.memory.spend(next.Rotation.Spent...)
}

// postponed plans the next try after a failure.
func (l *lifecycle) postponed(e *RefreshError, now time.Time) {
	r := l.cfg.Renewal
	l.retry.failures++
	l.death.mended = l.death.mended && e.Class == record.RefreshNotSent
	lo, last := r.BackoffMin, l.record.Rotation.Last
	if e.Class == record.RefreshMisconfigured || e.refused() && last != nil && last.Refusals >= record.RefusalsToDeath {
		lo = r.BackoffMax // waiting does not help, but a mended configuration should be noticed
	}
	pause := backoff(l.retry.failures, lo, r.BackoffMax, e.RetryAfter, l.cfg.Random())
	l.retry.at, l.retry.awaitsStore = now.Add(pause), false
	if l.retry.unwritten.FailingSince.IsZero() {
		l.retry.unwritten.FailingSince = now.UTC()
	}
	l.retry.unwritten.Error = record.Clip(e.Error())
}

// storeBack ends a wait for the store. Whoever holds a claim could not save either: its lease begins anew.
func (l *lifecycle) storeBack() {
	l.peer.attempt = ""
	if l.retry.awaitsStore {
		l.retry = retry{}
	}
}

// diagnose derives from the record, and from a death that could not be written into it, whether the credential is dead.
func (l *lifecycle) diagnose() {
	r, last := l.record, l.record.Rotation.Last
	if d := l.death.unsaved; d != nil {
		revived := last != nil && last.Result == "succeeded" && last.At.After(d.At)
		if r.Rotation.Dead = d; revived || record.DeadOf(l.id, l.record) != nil || record.DeadOf(l.id, r) != d {
			r, l.death.unsaved = l.record, nil
		}
	}
	l.death.quarantine, l.death.recheck = record.Quarantined(l.id, r), record.RecheckAt(l.id, r)
	if l.death.mended && !l.death.recheck.IsZero() {
		l.death.recheck = record.DeadOf(l.id, r).At // long past
	}
}

// condemned keeps in memory what a failure that could not be written says of the credential.
func (l *lifecycle) condemned(r record.Record, f record.Failure) {
	next := r.Clone()
	next.Fail(l.id, f)
	l.death.unsaved = record.DeadOf(l.id, next)
	l.diagnose()
}

// dead reports whether only a human can revive the credential.
func (l *lifecycle) dead() bool { return l.death.quarantine != "" }

// failing says since when refreshes fail and why the latest did, with those failures that could not be written; zero:
// they do not.
func (l *lifecycle) failing() (since time.Time, why string) {
	since, why = record.Failing(l.id, l.record)
	if f := l.retry.unwritten; !f.FailingSince.IsZero() {
		if why = f.Error; since.IsZero() || f.FailingSince.Before(since) {
			since = f.FailingSince
		}
	}
	return since, why
}

// waiting says whose claim the account's refresh waits for; "" when for none.
func (l *lifecycle) waiting() string {
	c := l.record.Rotation.Claim
	if l.flight == nil || c == nil || c.AttemptID != l.peer.attempt {
		return ""
	}
	return "its refresh waits for another process, " + c.Holder + ", to finish the one that it has begun"
}

// saved ends the saving of a rotation, which the record shows, or an edit on top of it. A process that knows the
// rotation from the journal alone takes it for what was there before the edit: its credential may have to come back.
func (l *lifecycle) saved(e JournalEntry, r stored) {
	l.saving = false
	edited := r.record.Rotation.WriteID == e.Attempt && !r.record.Credential().Equal(e.Record.Credential())
	if edited && l.version == 0 && l.record.Provider == "" && r.version > 1 {
		l.record, l.version, l.highest = e.Record, r.version-1, e.Record.Rotation.Generation
	}
}

// landed ends the running flight. The next one takes its place; nil: none.
func (l *lifecycle) landed() (next *Flight) {
	l.flight, l.next = l.next, nil
	l.saving, l.stuck = false, false
	return l.flight
}

// inherits takes over from an account that is gone what it knew of spent credentials, and its living one. In all else
// an account that comes back is a new one.
func (l *lifecycle) inherits(gone *lifecycle) {
	l.record, l.highest, l.death.quarantine = gone.record, gone.highest, gone.death.quarantine
	l.memory = memory{spent: slices.Clone(gone.memory.spent), orphans: gone.memory.orphans}
}
