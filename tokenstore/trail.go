package tokenstore

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
	tried     []tried
	refreshed []record.ID // refreshed in this request: once per account
	dear      bool        // one of these refreshes cost a token, or may have: the request gets no other
	prefer    record.ID   // the account just refreshed
	upstreams []string    // unreachable in this request
	status    int         // of the latest refusal by a provider
	message   string      // its words
}

type tried struct {
	account    record.ID
	upstream   string
	generation record.Generation
	class      verdict.Class
	fresh      bool // the token was the fruit of a refresh just made
	healthy    bool // the account had just accepted others
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

// LastClass is the class of the latest answer, 0 for the nil Trail.
func (t *Trail) LastClass() verdict.Class {
	if t.Attempts() == 0 {
		return 0
	}
	return t.tried[len(t.tried)-1].class
}

// admits reports whether an account may (still) be tried: not tried yet, or tried once with an older generation.
func (t *Trail) admits(id record.ID, gen record.Generation) bool {
	if t == nil {
		return true
	}
	times := 0
	for _, e := range t.tried {
		if e.account != id {
			continue
		}
		if times++; times > 1 || e.generation >= gen {
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
		if e.account == id {
			return false
		}
	}
	return true
}

func (t *Trail) hasRefreshed(id record.ID) bool {
	return t != nil && slices.Contains(t.refreshed, id)
}

// accused reports whether another account has refused the request in the same way.
func (t *Trail) accused(id record.ID, class verdict.Class) bool {
	return t != nil && slices.ContainsFunc(t.tried, func(e tried) bool { return e.account != id && e.class == class })
}

// refusedHealthy reports whether an account refused that had just accepted others.
func (t *Trail) refusedHealthy() bool {
	return t != nil && slices.ContainsFunc(t.tried, func(e tried) bool { return e.class.Ours() && e.healthy })
}

// refusedFresh reports whether a token was refused that was the fruit of a refresh.
func (t *Trail) refusedFresh() bool {
	return t != nil && slices.ContainsFunc(t.tried, func(e tried) bool { return e.class == verdict.ClassTokenRejected && e.fresh })
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
