package rotation

import (
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Snapshot is what is known of an account's credential at one moment.
type Snapshot struct {
	Record       record.Record
	Version      record.Version
	Deleted      bool      // the backend keeps the record but marks it deleted
	Problem      error     // why the record cannot be used; nil: it can
	Unfit        error     // why its credential cannot be used; the access token may serve on; nil: it can
	Quarantine   string    // why only a human can revive the credential; "": it is fine
	Unproven     bool      // an operator gave the account a credential that has not been exchanged yet
	Refreshable  bool      // a refresh could yield a token, now or later
	Token        *Token    // nil: none
	Refused      bool      // the provider refuses the token and a refresh is wanted
	InFlight     bool      // a refresh is under way, or its save
	Waits        string    // whose claim the running refresh waits for, in words; "": for none
	Due          time.Time // next renewal; zero: none planned
	RenewalAt    time.Time // of the token if all goes well; zero: no token
	RetryAt      time.Time // no refresh before; zero: at any time
	ReplayAt     time.Time // of a credential in doubt: when it may be presented again; zero: now, or there is no doubt
	FailingSince time.Time // of the refreshes; zero: they do not fail
	LastError    string    // with FailingSince
}

// Snapshot looks at the account.
func (a *Account) Snapshot(now time.Time) Snapshot {
	l := a.look()
	s := Snapshot{
		Record:     l.record,
		Version:    l.version,
		Deleted:    l.presence == deleted,
		Problem:    l.problem,
		Unfit:      l.unfit(),
		Quarantine: l.death.quarantine,
		Unproven:   l.unproven(),
		Token:      l.token,
		Refused:    l.refused(),
		InFlight:   l.flight != nil,
		Waits:      l.waiting(),
		RetryAt:    l.retry.at,
	}
	if due := a.due.Load(); due != 0 {
		s.Due = time.Unix(0, due).UTC()
	}
	usable := l.problem == nil && !l.record.OnHold() && l.driver != nil
	s.Refreshable = usable && s.Unfit == nil && !l.dead() && l.driver.Refreshable(l.record)
	s.FailingSince, s.LastError = l.failing()
	if l.token != nil && l.driver != nil && l.problem == nil {
		s.RenewalAt, s.ReplayAt = l.renewal(now), l.replayAt(now)
	}
	return s
}

// ID names the account.
func (a *Account) ID() record.ID { return a.id }

// Record is the record as memory has it. Its provider is "" while nothing is known yet.
func (a *Account) Record() record.Record { return a.look().record }

// InFlight reports whether a refresh is under way, or its save.
func (a *Account) InFlight() bool { return a.look().flight != nil }

// RetryAt is when a failing refresh is tried again; zero: it does not fail, or only a human can help.
func (a *Account) RetryAt() time.Time {
	if l := a.look(); !l.dead() {
		return l.retry.at
	}
	return time.Time{}
}

// Loaded reports whether the accounts have been read, and else how far that is, in words.
func (k *Keeper) Loaded() (ok bool, far string) {
	if k.loaded.Load() {
		return true, ""
	}
	if words := k.loading.Load(); words != nil {
		return false, *words
	}
	return false, ""
}

// Reachable reports whether the backend has answered the latest read and the latest write.
func (k *Keeper) Reachable() bool { return k.contact.up() }

// Trouble is what is wrong with the backend, for people; "": nothing.
func (k *Keeper) Trouble() string { return k.contact.trouble() }

// Unsaved is how many rotations are in memory and wait for the backend.
func (k *Keeper) Unsaved() int64 { return k.unsaved.Load() }

// Journalling reports whether the latest rotation could be written to the journal.
func (k *Keeper) Journalling() bool { return !k.journalDown.Load() }

// Stopping is closed when Stop is called.
func (k *Keeper) Stopping() <-chan struct{} { return k.stopping.Done() }

// Renewer is the background renewal, to be started after Run and stopped before Stop.
func (k *Keeper) Renewer() *Renewer { return k.renewals }

// Count is how many accounts there are.
func (k *Keeper) Count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.accounts)
}

// Proved says that the latest refresh that an answer caused has proved right: the next one need not wait.
func (k *Keeper) Proved(a *Account) {
	k.change(a, func(l *lifecycle, _ time.Time) { l.respondedAt = time.Time{} })
}

// Done is closed when the result is known; saving it may still go on.
func (f *Flight) Done() <-chan struct{} { return f.done }

// Landed is closed when all is saved and the account may be refreshed again.
func (f *Flight) Landed() <-chan struct{} { return f.landed }

// Result is valid after Done.
func (f *Flight) Result() RefreshResult { return f.result }

// Forced reports whether an operator insists.
func (f *Flight) Forced() bool { return f.force }

// ReplayOf is when the credential of a stored record may be presented again if its latest use got no readable answer;
// zero: now. living: its access token lives.
func ReplayOf(d Redeemer, r record.Record, living bool) time.Time {
	policy, _ := d.Replay()
	t := Token{Expires: r.ExpiresAt, Obtained: r.ObtainedAt}
	return replayAt(policy, living, r.ExpiresAt, t.lifetime())
}
