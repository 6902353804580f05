package cli

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestRefreshGetsANewTokenAndSavesIt(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newShell(t)
	s.put(t, "a", expired())
	out := s.good(t, "accounts", "refresh", "a")
	has(t, out, "a  refreshed  generation 8  token ends in ")
	got := s.record(t, "a")
	expect(t, "refresh token", got.RefreshToken.Reveal(), "rt-1")
	expect(t, "access token", got.AccessToken.Reveal(), "at-1")
	expect(t, "the claim is cleared", got.Rotation.Claim == nil, true)
	expect(t, "calls", s.driver.Calls(), 1)
}

func TestRefreshLeavesALivingTokenAloneUnlessForced(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	has(t, s.good(t, "accounts", "refresh", "a"), "a  fresh  generation 7")
	expect(t, "calls", s.driver.Calls(), 0)
	has(t, s.good(t, "accounts", "refresh", "a", "--force"), "a  refreshed  generation 8")
	expect(t, "calls", s.driver.Calls(), 1)
}

func TestRefreshAllRefreshesEveryAccount(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", expired())
	b := expired()
	b.RefreshToken = tokenstore.NewSecret(planted + "b")
	s.put(t, "b", b)
	var results []map[string]any
	if err := json.Unmarshal([]byte(s.good(t, "accounts", "refresh", "--all", "-o", "json")), &results); err != nil {
		t.Fatal(err)
	}
	expect(t, "results", len(results), 2)
	expect(t, "calls", s.driver.Calls(), 2)
	expect(t, "a redeemed token is not redeemed again", s.driver.MostSpent(), 1)
}

func TestARefreshThatFailsIsNamedAndTheOthersGoOn(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", expired())
	b := expired()
	b.RefreshToken = tokenstore.NewSecret(planted + "b")
	s.put(t, "b", b)
	s.driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
		if r.RefreshToken.Reveal() == planted+"refresh" {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
		}
		return nil
	}
	r := s.run(t, "", "accounts", "refresh", "a", "nobody", "b")
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "refreshing account a", "invalid_grant", "account nobody does not exist")
	has(t, r.out, "a  failed", "b  refreshed")
	if strings.Contains(r.err, "account b") {
		t.Errorf("b is blamed: %s", r.err)
	}
	expect(t, "the refused token of a", s.record(t, "a").RefreshToken.Reveal(), planted+"refresh")
	expect(t, "the new token of b is saved", strings.HasPrefix(s.record(t, "b").RefreshToken.Reveal(), "rt-"), true)
}

func TestRefreshOfAPausedAccountIsRefused(t *testing.T) {
	s := newShell(t)
	paused := expired()
	paused.State = tokenstore.Paused
	s.put(t, "a", paused)
	r := s.run(t, "", "accounts", "refresh", "a", "--force")
	expect(t, "exit code", r.code, ExitRefused)
	has(t, r.err, "refreshing account a", "paused")
	expect(t, "calls", s.driver.Calls(), 0)
}

func TestRefreshOfARecordThatCannotBeReadFails(t *testing.T) {
	s := stocked(t)
	r := s.run(t, "", "accounts", "refresh", "spoilt")
	expect(t, "exit code", r.code, ExitFailed)
	has(t, r.err, "refreshing account spoilt", "unreadable record")
	expect(t, "calls", s.driver.Calls(), 0)
}

func TestRefreshNeedsAccountsOrAll(t *testing.T) {
	for _, args := range [][]string{{"accounts", "refresh"}, {"accounts", "refresh", "a", "--all"}} {
		r := newShell(t).run(t, "", args...)
		expect(t, "exit code", r.code, ExitUsage)
		has(t, r.err, "name accounts, or give --all")
	}
}

func TestWithoutForceAnAmbiguousAccountIsExplainedAtOnceAndWithItTheRiskIsTold(t *testing.T) {
	s := newShell(t)
	doubtful := living()
	doubtful.Rotation.Claim = &tokenstore.Claim{AttemptID: "x", Holder: "h", Fingerprint: tokenstore.Fingerprint("a", doubtful.RefreshToken), Ambiguous: true, LeaseSeconds: 600}
	s.put(t, "a", doubtful)
	began := time.Now()
	r := s.run(t, "", "accounts", "refresh", "a")
	expect(t, "exit code", r.code, ExitRefused)
	has(t, r.err, "refreshing account a: nothing was done", "may be spent", "is tried again shortly before the access token ends, at ")
	r = s.run(t, "", "accounts", "refresh", "a", "--force")
	expect(t, "exit code of --force", r.code, ExitRefused)
	has(t, r.err, "forcing account a: its refresh token may be spent already", "revokes the account", "which lives for another", "--force --yes")
	has(t, s.good(t, "accounts", "refresh", "--all", "--force"), "a  skipped", "may be spent")
	expect(t, "calls", s.driver.Calls(), 0)
	r = s.run(t, "", "accounts", "refresh", "a", "--force", "--yes")
	expect(t, "exit code of --force --yes", r.code, 0)
	has(t, r.err, "its refresh token may be spent already")
	has(t, r.out, "a  refreshed  generation 8")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("all of it took %v", took)
	}
}

func TestForcingAHealthyAccountTellsWhatItCosts(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	has(t, s.good(t, "accounts", "refresh", "a"), "a  fresh  generation 7", "nothing to do")
	r := s.run(t, "", "accounts", "refresh", "a", "--force")
	expect(t, "exit code", r.code, 0)
	has(t, r.err, "it spends a refresh token although the access token lives")
	expect(t, "exit code of --yes alone", s.run(t, "", "accounts", "refresh", "a", "--yes").code, ExitUsage)
}

func TestAFailedRefreshIsToldOnce(t *testing.T) {
	for _, output := range []string{"text", "json"} {
		s := newShell(t)
		s.put(t, "a", expired())
		s.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
		}
		r := s.run(t, "", "accounts", "refresh", "a", "-o", output)
		expect(t, "exit code", r.code, ExitFailed)
		expect(t, "times told in "+output, strings.Count(r.out+r.err, "invalid_grant"), 1)
	}
}

func TestRefreshAllGoesThroughAccountsSideBySide(t *testing.T) {
	s := newShell(t)
	for i := range 6 {
		r := expired()
		r.RefreshToken = tokenstore.NewSecret(planted + strconv.Itoa(i))
		s.put(t, tokenstore.AccountID("a"+strconv.Itoa(i)), r)
	}
	s.driver.OnRefresh = func(ctx context.Context, _ tokenstore.Record) error {
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	}
	began := time.Now()
	out := s.good(t, "accounts", "refresh", "--all")
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("six refreshes of 0.3 s took %v", took)
	}
	expect(t, "lines", strings.Count(out, "refreshed"), 6)
}

func TestNothingToRefreshIsSaid(t *testing.T) {
	expect(t, "output", newShell(t).good(t, "accounts", "refresh", "--all"), "there are no accounts: nothing was refreshed\n")
}
