package tokenstore

import (
	"testing"

	"github.com/tokenward/tokenward/tokenstore/verdict"
)

func TestDecideMapsEveryVerdictToAStep(t *testing.T) {
	over := RouteConfig{FailOverRateLimit: true, FailOverOverload: true}
	can := situation{refreshable: true}
	for name, c := range map[string]struct {
		class verdict.Class
		route RouteConfig
		is    situation
		want  step
	}{
		"an accepted token passes":                        {verdict.ClassOK, over, can, stepPass},
		"a refused token is refreshed":                    {verdict.ClassTokenRejected, over, can, stepRefresh},
		"a refused token with a newer one is tried again": {verdict.ClassTokenRejected, over, situation{newer: true, refreshable: true}, stepAgain},
		"a newer token counts more than an old refresh":   {verdict.ClassTokenRejected, over, situation{newer: true, refreshed: true, refreshable: true}, stepAgain},
		"a token refused after a refresh is left":         {verdict.ClassTokenRejected, over, situation{refreshed: true, refreshable: true}, stepElsewhere},
		"a request costs one refresh":                     {verdict.ClassTokenRejected, over, situation{dear: true, refreshable: true}, stepElsewhere},
		"an answer costs an account one refresh a minute": {verdict.ClassTokenRejected, over, situation{withheld: true, refreshable: true}, stepElsewhere},
		"a key is not refreshed":                          {verdict.ClassTokenRejected, over, situation{static: true, refreshable: true}, stepElsewhere},
		"a guilty request gets the provider's answer":     {verdict.ClassTokenRejected, over, situation{guilty: true, refreshable: true}, stepGuilty},
		"a newer token counts more than guilt":            {verdict.ClassTokenRejected, over, situation{newer: true, guilty: true}, stepAgain},
		"a guilty request blocks no account":              {verdict.ClassAccountBlocked, over, situation{guilty: true}, stepGuilty},
		"a refused token without a credential is left":    {verdict.ClassTokenRejected, over, situation{}, stepElsewhere},
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
		if got := decide(verdict.Verdict{Class: c.class}, c.route, c.is); got != c.want {
			t.Errorf("%s: step %d, want %d", name, got, c.want)
		}
	}
}
