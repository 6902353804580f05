package rotation

import (
	"testing"
	"time"
)

func TestTheLeadIsAThirdOfTheLifetimeWithinBounds(t *testing.T) {
	for _, c := range []struct{ lifetime, configured, want time.Duration }{
		{time.Hour, 0, 20 * time.Minute},
		{24 * time.Hour, 0, time.Hour},
		{150 * time.Second, 0, time.Minute},
		{time.Minute, 0, 30 * time.Second},
		{time.Hour, 5 * time.Minute, 5 * time.Minute},
		{time.Hour, 2 * time.Hour, 30 * time.Minute},
	} {
		if got := leadOf(c.lifetime, c.configured); got != c.want {
			t.Errorf("lifetime %v, configured %v: %v, want %v", c.lifetime, c.configured, got, c.want)
		}
	}
}

func TestARenewalIsNeverBeforeTheTokenNorAfterItsLead(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, lifetime := range []time.Duration{2 * time.Second, time.Minute, time.Hour, 30 * 24 * time.Hour} {
		for _, jitter := range []float64{0, 0.5, 0.999} {
			at := renewAt(start, start.Add(lifetime), 0, jitter)
			if latest := start.Add(lifetime - leadOf(lifetime, 0)); at.After(latest) || !at.After(start) {
				t.Errorf("lifetime %v, jitter %v: after %v", lifetime, jitter, at.Sub(start))
			}
		}
	}
}

func TestTheSkewIsATenthOfTheLifetimeAtMostTenSeconds(t *testing.T) {
	for lifetime, want := range map[time.Duration]time.Duration{
		-time.Hour: 0, 0: 0, 20 * time.Second: 2 * time.Second, time.Hour: 10 * time.Second,
	} {
		if got := skewOf(lifetime); got != want {
			t.Errorf("%v: %v, want %v", lifetime, got, want)
		}
	}
}

func TestTheBackoffStaysWithinItsBoundsAndHonoursAWish(t *testing.T) {
	const lo, hi = time.Second, 5 * time.Minute
	for n := 1; n < 100; n++ {
		for _, jitter := range []float64{0, 0.5, 0.999} {
			if got := backoff(n, lo, hi, 0, jitter); got < lo || got > hi {
				t.Errorf("try %d, jitter %v: %v", n, jitter, got)
			}
		}
	}
	if got := backoff(1, lo, hi, time.Hour, 0); got != time.Hour {
		t.Errorf("%v, asked for an hour", got)
	}
	if a, b := backoff(2, lo, hi, 0, 0.9), backoff(5, lo, hi, 0, 0.9); a >= b {
		t.Errorf("try 2 waits %v, try 5 %v", a, b)
	}
}

func TestAStrictProvidersTokenIsReplayedOnlyAtTheEndOfALivingToken(t *testing.T) {
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		policy  ReplayPolicy
		living  bool
		expires time.Time
		want    time.Time
	}{
		"strict and living": {ReplayStrict, true, end, end.Add(-30 * time.Second)},
		"strict and dead":   {ReplayStrict, false, end, time.Time{}},
		"strict, endless":   {ReplayStrict, true, time.Time{}, time.Time{}},
		"grace":             {ReplayGrace, true, end, time.Time{}},
		"no rotation":       {ReplayNoRotation, true, end, time.Time{}},
	} {
		if got := replayAt(c.policy, c.living, c.expires, time.Hour); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
