package rotation

import "time"

// leadOf is how long before its end a token of the given lifetime is renewed: the configured lead, else a third of the
// lifetime within a minute and an hour; never more than half the lifetime, so that short tokens are not renewed at
// once.
func leadOf(lifetime, configured time.Duration) time.Duration {
	lead := configured
	if lead == 0 {
		lead = min(max(lifetime/3, time.Minute), time.Hour)
	}
	return min(lead, lifetime/2)
}

// renewAt is the instant of renewal. jitter in [0,1) is drawn once per token: drawn at every check it would bias the
// instant early (the earliest draw wins).
func renewAt(obtained, expires time.Time, lead time.Duration, jitter float64) time.Time {
	l := leadOf(expires.Sub(obtained), lead)
	return expires.Add(-l - time.Duration(jitter*float64(l)/5))
}

// skewOf is how long before its end a token is no longer sent: it must still live when the provider looks at it.
func skewOf(lifetime time.Duration) time.Duration {
	return min(10*time.Second, max(lifetime, 0)/10)
}

// backoff is the pause before try n (counted from 1) of a failing refresh: exponential with full jitter, between lo and
// hi, at least what the token endpoint asked for. Where hi leaves no room for jitter, the pause may exceed it, by half
// of lo.
func backoff(n int, lo, hi, asked time.Duration, jitter float64) time.Duration {
	ceiling := hi
	if shift := n - 1; shift < 20 && lo<<shift < hi {
		ceiling = lo << shift
	}
	pause := lo + time.Duration(jitter*float64(max(ceiling-lo, lo/2)))
	return max(pause, asked)
}

// replayAt is when a credential may be presented again after a use of unknown outcome. A strict server may revoke the
// whole family on a second use, so the living token's remaining life, known or guessed, is used up first: the holder
// may only be slow. The zero time means: now.
func replayAt(policy ReplayPolicy, living bool, expires time.Time, lifetime time.Duration) time.Time {
	if policy != ReplayStrict || !living || expires.IsZero() {
		return time.Time{}
	}
	return expires.Add(-min(30*time.Second, lifetime/4))
}
