package tokenstore

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore/selection"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

func TestDecideMapsEveryVerdictToAStep(t *testing.T) {
	over := RouteConfig{FailOverRateLimit: true, FailOverOverload: true}
	can := selection.Situation{Refreshable: true}
	for name, c := range map[string]struct {
		class verdict.Class
		route RouteConfig
		is    selection.Situation
		want  step
	}{
		"an accepted token passes":                        {verdict.ClassOK, over, can, stepPass},
		"a refused token is refreshed":                    {verdict.ClassTokenRejected, over, can, stepRefresh},
		"a refused token with a newer one is tried again": {verdict.ClassTokenRejected, over, selection.Situation{Newer: true, Refreshable: true}, stepAgain},
		"a newer token counts more than an old refresh":   {verdict.ClassTokenRejected, over, selection.Situation{Newer: true, Refreshed: true, Refreshable: true}, stepAgain},
		"a token refused after a refresh is left":         {verdict.ClassTokenRejected, over, selection.Situation{Refreshed: true, Refreshable: true}, stepElsewhere},
		"a request costs one refresh":                     {verdict.ClassTokenRejected, over, selection.Situation{Dear: true, Refreshable: true}, stepElsewhere},
		"an answer costs an account one refresh a minute": {verdict.ClassTokenRejected, over, selection.Situation{Withheld: true, Refreshable: true}, stepElsewhere},
		"a key is not refreshed":                          {verdict.ClassTokenRejected, over, selection.Situation{Static: true, Refreshable: true}, stepElsewhere},
		"a guilty request gets the provider's answer":     {verdict.ClassTokenRejected, over, selection.Situation{Guilty: true, Refreshable: true}, stepGuilty},
		"a newer token counts more than guilt":            {verdict.ClassTokenRejected, over, selection.Situation{Newer: true, Guilty: true}, stepAgain},
		"a guilty request blocks no account":              {verdict.ClassAccountBlocked, over, selection.Situation{Guilty: true}, stepGuilty},
		"a refused token without a credential is left":    {verdict.ClassTokenRejected, over, selection.Situation{}, stepElsewhere},
		"a blocked account is left":                       {verdict.ClassAccountBlocked, over, can, stepElsewhere},
		"a misconfigured account is left":                 {verdict.ClassMisconfigured, over, can, stepElsewhere},
		"an unreachable upstream is left":                 {verdict.ClassUnreachable, RouteConfig{}, can, stepElsewhere},
		"a rate limit fails over":                         {verdict.ClassRateLimited, over, can, stepElsewhere},
		"a rate limit passes where the route wants it":    {verdict.ClassRateLimited, RouteConfig{FailOverOverload: true}, can, stepPass},
		"an overload fails over":                          {verdict.ClassOverloaded, over, can, stepElsewhere},
		"an overload passes where the route wants it":     {verdict.ClassOverloaded, RouteConfig{FailOverRateLimit: true}, can, stepPass},
		"a permission error passes":                       {verdict.ClassForbidden, over, can, stepPass},
		"a billing error passes":                          {verdict.ClassBilling, over, can, stepPass},
		"a provider fault passes":                         {verdict.ClassProviderFault, over, can, stepPass},
		"a request fault passes":                          {verdict.ClassRequestFault, over, can, stepPass},
		"an answer from something on the path passes":     {verdict.ClassEgress, over, can, stepPass},
	} {
		if got := decide(verdict.Verdict{Class: c.class}, c.route, c.is, budget{1, time.Second}); got != c.want {
			t.Errorf("%s: step %d, want %d", name, got, c.want)
		}
	}
}

func TestWhatAttemptsAndTimeAllowIsDone(t *testing.T) {
	can := selection.Situation{Refreshable: true}
	for name, c := range map[string]struct {
		class verdict.Class
		is    selection.Situation
		left  budget
		want  step
	}{
		"the last attempt was refused":         {verdict.ClassTokenRejected, can, budget{0, time.Second}, stepTooLate},
		"no time is left for a refresh":        {verdict.ClassTokenRejected, can, budget{1, 0}, stepTooLate},
		"time ran out long ago":                {verdict.ClassTokenRejected, can, budget{1, -time.Second}, stepTooLate},
		"nobody is left, nothing to refresh":   {verdict.ClassTokenRejected, selection.Situation{Static: true}, budget{0, time.Second}, stepGiveUp},
		"a newer token comes too late":         {verdict.ClassTokenRejected, selection.Situation{Newer: true}, budget{0, time.Second}, stepGiveUp},
		"a blocked account and no attempt":     {verdict.ClassAccountBlocked, can, budget{0, time.Second}, stepGiveUp},
		"an accepted answer needs no attempt":  {verdict.ClassOK, can, budget{}, stepPass},
		"guilt needs no attempt":               {verdict.ClassTokenRejected, selection.Situation{Guilty: true}, budget{}, stepGuilty},
		"a refused token with attempts left":   {verdict.ClassTokenRejected, can, budget{3, time.Minute}, stepRefresh},
		"an unreachable upstream, no attempts": {verdict.ClassUnreachable, can, budget{-1, time.Minute}, stepGiveUp},
	} {
		if got := decide(verdict.Verdict{Class: c.class}, RouteConfig{}, c.is, c.left); got != c.want {
			t.Errorf("%s: step %d, want %d", name, got, c.want)
		}
	}
}

func TestARecoveryThatNobodyContinuesEndsByTheAnswerAndTheRoute(t *testing.T) {
	passes := RouteConfig{PassAuthFailure: true}
	for name, c := range map[string]struct {
		class verdict.Class
		route RouteConfig
		is    selection.Situation
		full  bool
		want  ending
	}{
		"a refused token is our fault":                {verdict.ClassTokenRejected, RouteConfig{}, selection.Situation{}, false, endCredentials},
		"a blocked account, too":                      {verdict.ClassAccountBlocked, RouteConfig{}, selection.Situation{}, false, endCredentials},
		"and wrong headers of ours":                   {verdict.ClassMisconfigured, RouteConfig{}, selection.Situation{}, false, endCredentials},
		"a route may pass refusals":                   {verdict.ClassTokenRejected, passes, selection.Situation{}, false, endPass},
		"limits are told first":                       {verdict.ClassTokenRejected, RouteConfig{}, selection.Situation{Twice: true}, true, endFull},
		"a healthy account that refused twice":        {verdict.ClassTokenRejected, RouteConfig{}, selection.Situation{Twice: true}, false, endGuilty},
		"requests like it are known":                  {verdict.ClassTokenRejected, RouteConfig{}, selection.Situation{Known: true}, false, endKnown},
		"nobody was reached":                          {verdict.ClassUnreachable, passes, selection.Situation{}, false, endUnreachable},
		"a rate limit is the client's to see":         {verdict.ClassRateLimited, RouteConfig{}, selection.Situation{}, false, endPass},
		"guilt of another class than a token's is no": {verdict.ClassMisconfigured, passes, selection.Situation{Twice: true}, false, endPass},
	} {
		if got := conclude(verdict.Verdict{Class: c.class}, c.route, c.is, c.full); got != c.want {
			t.Errorf("%s: ending %d, want %d", name, got, c.want)
		}
	}
}
