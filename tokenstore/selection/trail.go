package selection

import (
	"slices"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// Trail is what the earlier attempts of one request did: the recursion guard. The nil Trail is the first attempt's.
// It is used by one attempt at a time.
type Trail struct {
	started   time.Time // of the recovery: the first answer that was not passed on
	tried     []Attempt
	refreshed []record.ID // refreshed in this request: once per account
	dear      bool        // one of these refreshes cost a token, or may have: the request gets no other
	prefer    record.ID   // the account just refreshed
	upstreams []string    // unreachable in this request
	status    int         // of the latest refusal by a provider
	message   string      // its words
}

// Attempt is one attempt of a trail.
type Attempt struct {
	Account    record.ID
	Upstream   string
	Generation record.Generation
	Class      verdict.Class

	fresh   bool // the token was the fruit of a refresh just made
	healthy bool // the account had just accepted others
}

// Attempts is how many answers the request has had.
func (t *Trail) Attempts() int {
	if t == nil {
		return 0
	}
	return len(t.tried)
}

// Started is when the recovery began; zero for the nil Trail.
func (t *Trail) Started() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.started
}

// admits reports whether an account may (still) be tried: not tried yet, or tried once with an older generation.
func (t *Trail) admits(id record.ID, gen record.Generation) bool {
	if t == nil {
		return true
	}
	times := 0
	for _, e := range t.tried {
		if e.Account != id {
			continue
		}
		if times++; times > 1 || e.Generation >= gen {
			return false
		}
	}
	return true
}

// fresh reports whether an account was never tried: only such an account is worth a refresh by a later pick.
func (t *Trail) fresh(id record.ID) bool {
	if t == nil {
		return true
	}
	for _, e := range t.tried {
		if e.Account == id {
			return false
		}
	}
	return true
}

// HasRefreshed reports whether the request has had an account refreshed.
func (t *Trail) HasRefreshed(id record.ID) bool {
	return t != nil && slices.Contains(t.refreshed, id)
}

// accused reports whether another account has refused the request in the same way.
func (t *Trail) accused(id record.ID, class verdict.Class) bool {
	return t != nil && slices.ContainsFunc(t.tried, func(e Attempt) bool { return e.Account != id && e.Class == class })
}

// refusedHealthy reports whether an account refused that had just accepted others.
func (t *Trail) refusedHealthy() bool {
	return t != nil && slices.ContainsFunc(t.tried, func(e Attempt) bool { return e.Class.Ours() && e.healthy })
}

// refusedFresh reports whether a token was refused that was the fruit of a refresh.
func (t *Trail) refusedFresh() bool {
	return t != nil && slices.ContainsFunc(t.tried, func(e Attempt) bool {
		return e.Class == verdict.ClassTokenRejected && e.fresh
	})
}

func (t *Trail) unreachable(upstream string) bool {
	return t != nil && slices.Contains(t.upstreams, upstream)
}

func (t *Trail) preferred() record.ID {
	if t == nil {
		return ""
	}
	return t.prefer
}

// Kind says what the recovery consisted of: refresh (the same account with a new token) or failover.
func (t *Trail) Kind() string {
	if t == nil || len(t.refreshed) == 0 || len(t.tried) > len(t.refreshed) {
		return "failover"
	}
	return "refresh"
}

// Extend adds an answer to the trail, and begins one if there is none. status and words are the provider's.
func (t *Trail) Extend(a Attempt, sit Situation, status int, words string, now time.Time) *Trail {
	if t == nil {
		t = &Trail{started: now}
	}
	a.fresh, a.healthy = sit.Refreshed || sit.renewed, sit.healthy
	t.prefer = ""
	t.tried = append(t.tried, a)
	if a.Class == verdict.ClassUnreachable {
		t.upstreams = append(t.upstreams, a.Upstream)
	}
	if a.Class.Ours() {
		t.status, t.message = status, words
	}
	return t
}

// Tried are the attempts so far, the latest last.
func (t *Trail) Tried() []Attempt {
	if t == nil {
		return nil
	}
	return t.tried
}

// Prefer has the next choice take an account, if it can.
func (t *Trail) Prefer(id record.ID) { t.prefer = id }

// NoteRefresh remembers that the request has had an account refreshed. dear: that cost a token, or may have.
func (t *Trail) NoteRefresh(id record.ID, dear bool) {
	t.refreshed = append(t.refreshed, id)
	t.dear = t.dear || dear
}

// Refusal is the latest refusal by a provider: its status and words; 0: none.
func (t *Trail) Refusal() (status int, words string) {
	if t == nil {
		return 0, ""
	}
	return t.status, t.message
}
