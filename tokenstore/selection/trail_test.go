package selection

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

func TestTheFirstAttemptHasNoTrail(t *testing.T) {
	var none *Trail
	status, words := none.Refusal()
	if none.Attempts() != 0 || !none.Started().IsZero() || none.Tried() != nil || status != 0 || words != "" ||
		none.HasRefreshed("a") {
		t.Error("the nil trail knows of an attempt")
	}
	if !none.admits("a", 0) || !none.fresh("a") || none.unreachable("u") || none.preferred() != "" {
		t.Error("the nil trail keeps an account from the first attempt")
	}
	if none.accused("a", tokenRejected) || none.refusedFresh() || none.refusedHealthy() {
		t.Error("the nil trail accuses somebody")
	}
}

func TestATrailKeepsWhatEachAnswerWas(t *testing.T) {
	first := Attempt{Account: "a", Upstream: "u", Generation: 1, Class: tokenRejected}
	second := Attempt{Account: "b", Upstream: "v", Generation: 5, Class: verdict.ClassUnreachable}
	third := Attempt{Account: "c", Upstream: "w", Generation: 7, Class: verdict.ClassRateLimited}
	var trail *Trail
	trail = trail.Extend(first, Situation{Refreshed: true}, 401, "who are you", start)
	trail.Prefer("a")
	trail = trail.Extend(second, Situation{healthy: true}, 503, "no route", start.Add(time.Second))
	if trail.preferred() != "" {
		t.Error("a preference outlives the attempt that it was for")
	}
	trail = trail.Extend(third, Situation{renewed: true, healthy: true}, 429, "slow down", start.Add(2*time.Second))

	first.fresh, second.healthy, third.fresh, third.healthy = true, true, true, true
	want := []Attempt{first, second, third}
	if d := cmp.Diff(want, trail.Tried(), cmp.AllowUnexported(Attempt{})); d != "" {
		t.Error(d)
	}
	if trail.Attempts() != 3 || !trail.Started().Equal(start) {
		t.Errorf("%d attempts since %v", trail.Attempts(), trail.Started())
	}
	if trail.unreachable("u") || !trail.unreachable("v") || trail.unreachable("w") {
		t.Errorf("unreachable: %v", trail.upstreams)
	}
}

func TestTheRefusalIsTheLatestThatSpeaksAgainstOurToken(t *testing.T) {
	var trail *Trail
	for _, class := range verdict.Classes() {
		was, _ := trail.Refusal()
		status := 400 + int(class)
		trail = trail.Extend(Attempt{Class: class}, Situation{}, status, class.String(), start)
		switch got, words := trail.Refusal(); {
		case class.Ours() && (got != status || words != class.String()):
			t.Errorf("after %v the refusal is %d %q", class, got, words)
		case !class.Ours() && got != was:
			t.Errorf("after %v the refusal is %d, and was %d", class, got, was)
		}
	}
}

func TestWhatATrailHoldsAgainstTheRequest(t *testing.T) {
	type holds struct{ Accused, Fresh, Healthy bool } // account a, as token_rejected
	for name, c := range map[string]struct {
		id    record.ID
		class verdict.Class
		sit   Situation
		want  holds
	}{
		"another refused":           {"b", tokenRejected, Situation{}, holds{Accused: true}},
		"it refused itself":         {"a", tokenRejected, Situation{}, holds{}},
		"another refused otherwise": {"b", accountBlocked, Situation{}, holds{}},
		"a healthy one refused":     {"a", tokenRejected, Situation{healthy: true}, holds{Healthy: true}},
		"a healthy one is blocked":  {"a", accountBlocked, Situation{healthy: true}, holds{Healthy: true}},
		"a healthy one is limited":  {"a", verdict.ClassRateLimited, Situation{healthy: true}, holds{}},
		"a fresh one refused":       {"a", tokenRejected, Situation{Refreshed: true}, holds{Fresh: true}},
		"a renewed one refused":     {"a", tokenRejected, Situation{renewed: true}, holds{Fresh: true}},
		"a fresh one is blocked":    {"a", accountBlocked, Situation{Refreshed: true}, holds{}},
		"another was not reached":   {"b", verdict.ClassUnreachable, Situation{}, holds{}},
	} {
		trail := (*Trail)(nil).Extend(Attempt{Account: c.id, Class: c.class}, c.sit, 401, "", start)
		got := holds{trail.accused("a", tokenRejected), trail.refusedFresh(), trail.refusedHealthy()}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestATrailAdmitsASeatOnceForEachOfTwoGenerations(t *testing.T) {
	for name, c := range map[string]struct {
		tried  []Attempt
		admits bool // account a with generation 5
		fresh  bool
	}{
		"nobody was tried":        {nil, true, true},
		"others were tried":       {[]Attempt{{Account: "b", Generation: 5}, {Account: "c", Generation: 9}}, true, true},
		"tried with this":         {[]Attempt{{Account: "a", Generation: 5}}, false, false},
		"tried with an older one": {[]Attempt{{Account: "b"}, {Account: "a", Generation: 4}}, true, false},
		"tried with a newer one":  {[]Attempt{{Account: "a", Generation: 6}}, false, false},
		"tried with two older":    {[]Attempt{{Account: "a", Generation: 3}, {Account: "a", Generation: 4}}, false, false},
	} {
		trail := &Trail{tried: c.tried}
		if admits, fresh := trail.admits("a", 5), trail.fresh("a"); admits != c.admits || fresh != c.fresh {
			t.Errorf("%s: admits %t, never tried %t; want %t, %t", name, admits, fresh, c.admits, c.fresh)
		}
	}
}

func TestARecoveryIsARefreshWhenOnlyTheSameAccountServed(t *testing.T) {
	for name, c := range map[string]struct {
		tried, refreshed int
		want             string
	}{
		"no attempt":                             {0, 0, "failover"},
		"moved to another":                       {1, 0, "failover"},
		"refreshed":                              {1, 1, "refresh"},
		"refreshed, moved, refreshed there":      {2, 2, "refresh"},
		"refreshed, then moved":                  {2, 1, "failover"},
		"refreshed twice, moved at the last one": {3, 2, "failover"},
	} {
		var trail *Trail
		for range c.tried {
			trail = trail.Extend(Attempt{Class: tokenRejected}, Situation{}, 401, "", start)
		}
		for range c.refreshed {
			trail.NoteRefresh("a", false)
		}
		if got := trail.Kind(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestATrailRemembersWhomItHadRefreshedAndWhetherThatCostAToken(t *testing.T) {
	trail := &Trail{}
	for i, step := range []struct {
		id   record.ID
		dear bool
		want bool
	}{{"a", false, false}, {"b", true, true}, {"c", false, true}} {
		trail.NoteRefresh(step.id, step.dear)
		if !trail.HasRefreshed(step.id) || trail.dear != step.want {
			t.Errorf("step %d: refreshed %v, dear %t", i, trail.refreshed, trail.dear)
		}
	}
	if trail.HasRefreshed("d") {
		t.Error("d was not refreshed")
	}
}
