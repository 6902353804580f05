package integration

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/integration/vaultserver"
)

func TestLimitsThatAnOperatorPatchesInVaultAreHonouredWhileTheServiceRuns(t *testing.T) {
	v := startVault(t, vaultserver.StartDev)
	g := startWith(t, v.on, one)
	limit := func(limits string, rpm, concurrency float64) {
		t.Helper()
		v.kv(t, "patch", "claude-1", "limits="+limits)
		eventually(t, 5*time.Second, "limits="+limits+" is adopted", func() bool {
			a := g.account(t, "claude-1")
			l, _ := a["limits"].(map[string]any)
			if rpm == 0 && concurrency == 0 {
				return a["limits"] == nil && a["state"] == "active"
			}
			return l["rpm"] == rpm && l["concurrency"] == concurrency && a["state"] == "active"
		})
	}
	full := func(most int) {
		t.Helper()
		a := g.post(t, "")
		refused(t, a, 429, "all_cooling", "rate_limit_error")
		if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || n < 1 || n > most {
			t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
		}
		expect(t, "state of an account at its limit", g.state(t, "claude-1"), "active")
	}

	for range 5 {
		served(t, g.post(t, ""), "")
	}
	limit(`{"rpm":3,"note":"tier 1"}`, 3, 0)
	for range 3 {
		served(t, g.post(t, ""), "")
	}
	full(60)
	expect(t, "requests at the provider", len(g.attempted(t, t.Name())), 8)

	status, _ := g.force(t, "claude-1")
	expect(t, "status of a refresh", status, 200)
	kept, _ := v.record(t, "claude-1")["limits"].(map[string]any)
	expect(t, "a key that we do not know after our write", kept["note"], any("tier 1"))

	limit(`{"concurrency":1}`, 0, 1)
	done := make(chan Answer, 1)
	before := len(g.Provider.Seen(t.Name()))
	go func() { done <- g.post(t, "delay=2s") }()
	eventually(t, 5*time.Second, "an attempt is under way", func() bool { return len(g.Provider.Seen(t.Name())) > before })
	full(1)
	served(t, <-done, "")
	for range 50 { // a place is free as soon as the answer is there
		served(t, g.post(t, ""), "")
	}
	g.Provider.Revoke("claude-1")
	served(t, g.post(t, ""), "") // the second attempt takes the place of the first

	v.kv(t, "patch", "claude-1", `limits={"rpm":"many"}`)
	const told = "config_error in key limits.rpm: must be a whole number from 1 to 100000; 0, null or no rpm means no limit; until it is mended its last good value counts"
	eventually(t, 5*time.Second, "a wrong limit is that key's config_error", func() bool {
		reason, _ := g.account(t, "claude-1")["reason"].(string)
		return strings.Contains(reason, told) &&
			strings.Contains(reason, "`tokenward accounts set claude-1 --rpm 0` ends that limit")
	})
	expect(t, "state", g.state(t, "claude-1"), "active")
	limit("", 0, 0)
	eventually(t, time.Second, "with the limit mended it serves", func() bool { return g.post(t, "").Status == 200 })
}
