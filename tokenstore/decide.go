package tokenstore

import (
	"fmt"

	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// Action is what to do with an answer.
type Action uint8

// Actions.
const (
	Pass   Action = iota + 1 // the client gets it
	Retry                    // another attempt follows; the next pick says with whom
	Refuse                   // the client gets our own answer
	Peek                     // read the body, then report again
)

func (a Action) String() string {
	switch a {
	case Pass:
		return "pass"
	case Retry:
		return "retry"
	case Refuse:
		return "refuse"
	case Peek:
		return "peek"
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// step is what an answer calls for, before it is known whether anybody is left to try.
type step uint8

const (
	stepPass      step = iota + 1
	stepAgain          // the store already holds a newer token than the refused one
	stepRefresh        // get a new token, then the same account again
	stepElsewhere      // another account or upstream
	stepGuilty         // the request is at fault: the client gets the provider's answer, nobody is blamed
)

// situation is what a decision depends on besides the verdict.
type situation struct {
	newer       bool // a newer, unrefused generation of the picked account is installed
	guilty      bool // another account refused the request, too, and this one is healthy or just refreshed
	twice       bool // the account is healthy and refused the request before its refresh, too: guilty, if nobody else can be asked
	healthy     bool // others' requests were just accepted
	refreshed   bool // the refused token is the fruit of a refresh: this request's, or one just made and never accepted yet
	renewed     bool // the token was refreshed within the last minute and accepted since
	refreshable bool // now
	static      bool // there is nothing to refresh with: a key, or a token that somebody else rotates
	known       bool // requests like it were found guilty lately
	dear        bool // the request has cost a refresh already, or is known while the account is healthy
	withheld    bool // an answer has cost the account a refresh within the last minute, in vain as far as is known
}

// decide maps a verdict to a step. Pure.
func decide(v verdict.Verdict, r RouteConfig, s situation) step {
	switch v.Class {
	case verdict.ClassTokenRejected:
		switch {
		case s.newer:
			return stepAgain
		case s.guilty:
			return stepGuilty
		case s.refreshable && !s.refreshed && !s.dear && !s.static && !s.withheld:
			return stepRefresh
		}
		return stepElsewhere
	case verdict.ClassAccountBlocked:
		if s.guilty {
			return stepGuilty
		}
		return stepElsewhere
	case verdict.ClassMisconfigured, verdict.ClassUnreachable:
		return stepElsewhere
	case verdict.ClassRateLimited:
		if r.FailOverRateLimit {
			return stepElsewhere
		}
	case verdict.ClassOverloaded:
		if r.FailOverOverload {
			return stepElsewhere
		}
	case verdict.ClassOK, verdict.ClassForbidden, verdict.ClassBilling, verdict.ClassProviderFault, verdict.ClassRequestFault, verdict.ClassEgress:
	}
	return stepPass
}
