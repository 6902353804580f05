package tokenstore

import "testing"

func TestDecideMapsEveryVerdictToAStep(t *testing.T) {
	over := RouteConfig{FailOverRateLimit: true, FailOverOverload: true}
	can := situation{refreshable: true}
	for name, c := range map[string]struct {
		class Class
		route RouteConfig
		is    situation
		want  step
	}{
		"an accepted token passes":                        {ClassOK, over, can, stepPass},
		"a refused token is refreshed":                    {ClassTokenRejected, over, can, stepRefresh},
		"a refused token with a newer one is tried again": {ClassTokenRejected, over, situation{newer: true, refreshable: true}, stepAgain},
		"a newer token counts more than an old refresh":   {ClassTokenRejected, over, situation{newer: true, refreshed: true, refreshable: true}, stepAgain},
		"a token refused after a refresh is left":         {ClassTokenRejected, over, situation{refreshed: true, refreshable: true}, stepElsewhere},
		"a request costs one refresh":                     {ClassTokenRejected, over, situation{dear: true, refreshable: true}, stepElsewhere},
		"an answer costs an account one refresh a minute": {ClassTokenRejected, over, situation{withheld: true, refreshable: true}, stepElsewhere},
		"a key is not refreshed":                          {ClassTokenRejected, over, situation{static: true, refreshable: true}, stepElsewhere},
		"a guilty request gets the provider's answer":     {ClassTokenRejected, over, situation{guilty: true, refreshable: true}, stepGuilty},
		"a newer token counts more than guilt":            {ClassTokenRejected, over, situation{newer: true, guilty: true}, stepAgain},
		"a guilty request blocks no account":              {ClassAccountBlocked, over, situation{guilty: true}, stepGuilty},
		"a refused token without a credential is left":    {ClassTokenRejected, over, situation{}, stepElsewhere},
		"a blocked account is left":                       {ClassAccountBlocked, over, can, stepElsewhere},
		"a misconfigured account is left":                 {ClassMisconfigured, over, can, stepElsewhere},
		"an unreachable upstream is left":                 {ClassUnreachable, RouteConfig{}, can, stepElsewhere},
		"a rate limit fails over":                         {ClassRateLimited, over, can, stepElsewhere},
		"a rate limit passes where the route wants it":    {ClassRateLimited, RouteConfig{FailOverOverload: true}, can, stepPass},
		"an overload fails over":                          {ClassOverloaded, over, can, stepElsewhere},
		"an overload passes where the route wants it":     {ClassOverloaded, RouteConfig{FailOverRateLimit: true}, can, stepPass},
		"a permission error passes":                       {ClassForbidden, over, can, stepPass},
		"a billing error passes":                          {ClassBilling, over, can, stepPass},
		"a provider fault passes":                         {ClassProviderFault, over, can, stepPass},
		"a request fault passes":                          {ClassRequestFault, over, can, stepPass},
		"an answer from something on the path passes":     {ClassEgress, over, can, stepPass},
	} {
		if got := decide(Verdict{Class: c.class}, c.route, c.is); got != c.want {
			t.Errorf("%s: step %d, want %d", name, got, c.want)
		}
	}
}
