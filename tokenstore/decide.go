package tokenstore

import (
	"fmt"
	"time"

	"github.com/tokenward/tokenward/tokenstore/selection"
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
	stepGiveUp         // attempts or time are used up
	stepTooLate        // the same, and the token is to be refreshed for those who come after
)

// budget is what is left of a request's attempts and time.
type budget struct {
	attempts int
	time     time.Duration
}

// decide maps a verdict to a step. Pure.
func decide(v verdict.Verdict, r RouteConfig, s selection.Situation, left budget) step {
	next := wanted(v, r, s)
	switch {
	case next == stepPass, next == stepGuilty, left.attempts > 0 && left.time > 0:
		return next
	case next == stepRefresh:
		return stepTooLate
	}
	return stepGiveUp
}

// wanted is the step that an answer calls for if attempts and time allow it.
func wanted(v verdict.Verdict, r RouteConfig, s selection.Situation) step {
	switch v.Class {
	case verdict.ClassTokenRejected:
		switch {
		case s.Newer:
			return stepAgain
		case s.Guilty:
			return stepGuilty
		case s.Refreshable && !s.Refreshed && !s.Dear && !s.Static && !s.Withheld:
			return stepRefresh
		}
		return stepElsewhere
	case verdict.ClassAccountBlocked:
		if s.Guilty {
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
	case verdict.ClassOK,
		verdict.ClassForbidden,
		verdict.ClassBilling,
		verdict.ClassProviderFault,
		verdict.ClassRequestFault,
		verdict.ClassEgress:
	}
	return stepPass
}

// ending is how a recovery ends that nobody is left to continue.
type ending uint8

const (
	endPass        ending = iota + 1 // the client gets the provider's answer
	endGuilty                        // the same, and the request is found guilty
	endKnown                         // the same: requests like it were found guilty lately
	endFull                          // our own answer: accounts could serve but for their limits
	endUnreachable                   // our own answer in place of the proxy's bare text: no provider was reached
	endCredentials                   // our own answer, since the client would take the provider's for its own key's
)

// conclude says how a recovery ends. full: accounts could serve but for their limits. Pure.
func conclude(v verdict.Verdict, r RouteConfig, s selection.Situation, full bool) ending {
	switch c := v.Class; {
	case full:
		return endFull
	case c == verdict.ClassTokenRejected && s.Twice:
		return endGuilty
	case c == verdict.ClassTokenRejected && s.Known:
		return endKnown
	case c == verdict.ClassUnreachable:
		return endUnreachable
	case c.Ours() && !r.PassAuthFailure:
		return endCredentials
	}
	return endPass
}
