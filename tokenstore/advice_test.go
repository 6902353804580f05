package tokenstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// noon is now in the sentences that follow.
var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// healthy is an account whose token lives for 58 minutes.
func healthy(edits ...func(*tokenstore.AccountStatus)) tokenstore.AccountStatus {
	st := tokenstore.AccountStatus{
		ID:          "claude-1",
		Provider:    "anthropic",
		Kind:        tokenstore.KindAnthropicOAuth,
		Pools:       []string{"claude"},
		State:       tokenstore.StateActive,
		Routable:    true,
		Refreshable: true,
		ExpiresAt:   noon.Add(58 * time.Minute),
		NextRefresh: noon.Add(38 * time.Minute),
		Fingerprint: "f",
	}
	for _, edit := range edits {
		edit(&st)
	}
	return st
}

func in(state tokenstore.AccountState, cause string) func(*tokenstore.AccountStatus) {
	return func(st *tokenstore.AccountStatus) { st.State, st.Cause = state, cause }
}

func remarked(words ...string) func(*tokenstore.AccountStatus) {
	return func(st *tokenstore.AccountStatus) { st.Remarks = words }
}

func of(kind tokenstore.Kind) func(*tokenstore.AccountStatus) {
	return func(st *tokenstore.AccountStatus) { st.Kind = kind }
}

func named(id tokenstore.AccountID) func(*tokenstore.AccountStatus) {
	return func(st *tokenstore.AccountStatus) { st.ID = id }
}

// idle does not serve and is not refreshed.
func idle(st *tokenstore.AccountStatus) {
	st.Routable, st.Refreshable, st.NextRefresh = false, false, time.Time{}
}

func unrenewed(st *tokenstore.AccountStatus) { st.Refreshable, st.NextRefresh = false, time.Time{} }

// ended is without a living token.
func ended(st *tokenstore.AccountStatus) { st.Routable, st.ExpiresAt = false, noon.Add(-5*time.Minute) }

func tokenless(st *tokenstore.AccountStatus) {
	st.Routable, st.Fingerprint, st.ExpiresAt = false, "", time.Time{}
}

func endless(st *tokenstore.AccountStatus) { st.ExpiresAt = time.Time{} }

func failedWith(class tokenstore.RefreshClass, text string) func(*tokenstore.AccountStatus) {
	return func(st *tokenstore.AccountStatus) {
		st.Last = &tokenstore.Outcome{At: noon.Add(-2 * time.Minute), Result: "failed", Class: class}
		st.FailingSince, st.LastError = noon.Add(-7*time.Minute), "refresh "+string(class)+": "+text
	}
}

func cools(class string, pause time.Duration) func(*tokenstore.AccountStatus) {
	return func(st *tokenstore.AccountStatus) {
		st.Routable, st.Cooldowns = false, []tokenstore.Cooldown{
			{Scope: tokenstore.ScopeAccount, Until: noon.Add(pause), Reason: class},
		}
	}
}

const (
	newLogin = "log in at the provider again, then `tokenward accounts add claude-1 --refresh-token-file -`"
	lives    = "2026-01-31T12:58:00Z (in 58m)"
)

func TestEveryStateHasItsSentence(t *testing.T) {
	refused := "the credential was refused for good: refresh refused_permanent: status 400: invalid_grant"
	lost := "a refresh was sent and no readable answer came: refresh unknown: no answer in time"
	replay := func(st *tokenstore.AccountStatus) { st.ReplayAt = noon.Add(57*time.Minute + 30*time.Second) }
	mend := func(words string) func(*tokenstore.AccountStatus) {
		return func(st *tokenstore.AccountStatus) { st.Mend = words }
	}
	for _, c := range []struct {
		name string
		st   tokenstore.AccountStatus
		want string
	}{
		{"all is well", healthy(), ""},
		{"a key", healthy(of(tokenstore.KindAPIKey), endless, unrenewed), ""},
		{
			"needs_reauth that serves", healthy(in(tokenstore.StateNeedsReauth, refused), unrenewed),
			newLogin + "; serves until " + lives + "; the credential was refused for good: refresh refused_permanent: status 400: invalid_grant",
		},
		{
			"needs_reauth that is over", healthy(in(tokenstore.StateNeedsReauth, refused), unrenewed, ended),
			newLogin + "; does not serve: its token ended at 2026-01-31T11:55:00Z (5m ago); the credential was refused for good: refresh refused_permanent: status 400: invalid_grant",
		},
		{
			"needs_reauth that cools", healthy(in(tokenstore.StateNeedsReauth, refused), unrenewed, cools("rate_limited", 42*time.Second)),
			newLogin + "; does not serve, though its token lives until " + lives + "; rate limited by the provider until 2026-01-31T12:00:42Z (in 42s); next probe then; " +
				"`tokenward accounts resume claude-1` lifts it now; the credential was refused for good: refresh refused_permanent: status 400: invalid_grant",
		},
		{
			"needs_reauth of a client", healthy(in(tokenstore.StateNeedsReauth, refused), unrenewed, tokenless, of(tokenstore.KindClientCredentials)),
			"get a new client secret from the provider, then `tokenward accounts add claude-1 --client-secret-file -`; does not serve: it has no token; " +
				"the credential was refused for good: refresh refused_permanent: status 400: invalid_grant",
		},
		{
			"ambiguous", healthy(in(tokenstore.StateAmbiguous, lost), replay),
			"nothing to do now; serves until " + lives + "; its refresh token is tried once more at 2026-01-31T12:57:30Z (in 58m); " +
				"have a new login ready for `tokenward accounts add claude-1 --refresh-token-file -` in case it is refused; a refresh was sent and no readable answer came: refresh unknown: no answer in time",
		},
		{
			"ambiguous and over", healthy(in(tokenstore.StateAmbiguous, "a refresh was sent and no readable answer came: "), ended),
			"nothing to do now; does not serve: its token ended at 2026-01-31T11:55:00Z (5m ago); its refresh token is tried once more by itself; " +
				"have a new login ready for `tokenward accounts add claude-1 --refresh-token-file -` in case it is refused; a refresh was sent and no readable answer came",
		},
		{
			"cooling", healthy(in(tokenstore.StateCooling, "rate_limited"), cools("rate_limited", 42*time.Second)),
			"rate limited by the provider until 2026-01-31T12:00:42Z (in 42s); next probe then; its token lives until " + lives + "; " +
				"`tokenward accounts resume claude-1` lifts it now",
		},
		{"cooling for days", healthy(in(tokenstore.StateCooling, "rate_limited"), cools("rate_limited", 144*time.Hour), func(st *tokenstore.AccountStatus) {
			st.Cooldowns[0].Probe = noon.Add(30 * time.Minute)
		}, ended), "rate limited by the provider until 2026-02-06T12:00:00Z (in 6d); next probe at 2026-01-31T12:30:00Z (in 30m); " +
			"`tokenward accounts resume claude-1` lifts it now"},
		{"cooling, its probe is due", healthy(in(tokenstore.StateCooling, "rate_limited"), cools("rate_limited", 144*time.Hour), func(st *tokenstore.AccountStatus) {
			st.Cooldowns[0].Probe = noon
		}, ended), "rate limited by the provider until 2026-02-06T12:00:00Z (in 6d); next probe with the next request; " +
			"`tokenward accounts resume claude-1` lifts it now"},
		{
			"left out without an end", healthy(in(tokenstore.StateCooling, "odd"), idle),
			"odd; does not serve, though its token lives until " + lives + "; `tokenward accounts resume claude-1` lifts it now",
		},
		{
			"blocked", healthy(in(tokenstore.StateCooling, "account_blocked"), cools("account_blocked", 10*time.Minute), ended),
			"look at the account at the provider, which blocks it (account_blocked): left out until 2026-01-31T12:10:00Z (in 10m); next probe then; " +
				"`tokenward accounts resume claude-1` lifts it now",
		},
		{
			"out of credit", healthy(in(tokenstore.StateCooling, "billing"), cools("billing", 10*time.Minute), endless),
			"look at the account's credit, the provider wants payment (billing): left out until 2026-01-31T12:10:00Z (in 10m); next probe then; " +
				"`tokenward accounts resume claude-1` lifts it now",
		},
		{
			"a refused key", healthy(in(tokenstore.StateCooling, "token_rejected"), cools("token_rejected", 10*time.Minute), of(tokenstore.KindAPIKey), endless, unrenewed),
			"the provider refuses its token (token_rejected): left out until 2026-01-31T12:10:00Z (in 10m); next probe then; " +
				"if that goes on, get a new key from the provider, then `tokenward accounts add claude-1 --api-key-file -`; `tokenward accounts resume claude-1` lifts it now",
		},
		{
			"cooling for a reason of tomorrow", healthy(in(tokenstore.StateCooling, "odd"), cools("odd", 3*time.Hour), endless),
			"odd: left out until 2026-01-31T15:00:00Z (in 3h); next probe then; `tokenward accounts resume claude-1` lifts it now",
		},
		{
			"at its rate", healthy(func(st *tokenstore.AccountStatus) {
				st.Full = &tokenstore.Full{Key: "rpm", Most: 60, Until: noon.Add(3 * time.Second)}
			}),
			"at its limit limits.rpm: 60, which is yours and not the provider's: room again at 2026-01-31T12:00:03Z (in 3s)",
		},
		{
			"at its concurrency", healthy(func(st *tokenstore.AccountStatus) { st.Full = &tokenstore.Full{Key: "concurrency", Most: 4} }),
			"at its limit limits.concurrency: 4, which is yours and not the provider's: room again when an attempt is answered",
		},
		{
			"renewal fails", healthy(failedWith(tokenstore.RefreshTransient, "status 503")),
			"renewal has failed since 2026-01-31T11:53:00Z (7m ago): refresh refused_transient: status 503; serves until " + lives + "; is tried again at 2026-01-31T12:38:00Z (in 38m); " +
				"check the way to the token endpoint with `tokenward check --online`",
		},
		{
			"renewal is misconfigured", healthy(in(tokenstore.StateExpiring, ""), failedWith(tokenstore.RefreshMisconfigured, "status 401: invalid_client"),
				func(st *tokenstore.AccountStatus) { st.NextRefresh = noon }),
			"renewal has failed since 2026-01-31T11:53:00Z (7m ago): refresh misconfigured: status 401: invalid_client; serves until " + lives + "; is tried again by itself; " +
				"check client id, client secret and the provider's settings, then `tokenward accounts refresh claude-1`",
		},
		{"expiring", healthy(in(tokenstore.StateExpiring, "")), "its renewal is due or under way; serves until " + lives},
		{
			"ends and is renewed by nobody", healthy(remarked("there is nothing to refresh with"), unrenewed),
			newLogin + "; serves until " + lives + "; there is nothing to refresh with",
		},
		{"in a strange pool, too", healthy(remarked("it does not serve everywhere"), mend("`x` mends it")), "it does not serve everywhere; `x` mends it"},
		{
			"expired", healthy(in(tokenstore.StateExpired, ""), ended),
			"does not serve: its token ended at 2026-01-31T11:55:00Z (5m ago); its next refresh is due at 2026-01-31T12:38:00Z (in 38m)",
		},
		{
			"expired and woken by a request", healthy(in(tokenstore.StateExpired, ""), ended, func(st *tokenstore.AccountStatus) { st.Routable, st.NextRefresh = true, noon }),
			"serves after its next refresh; its refresh is due or under way",
		},
		{
			"expired, renewal fails", healthy(in(tokenstore.StateExpired, ""), ended, failedWith(tokenstore.RefreshNotSent, "dial tcp: connection refused")),
			"renewal has failed since 2026-01-31T11:53:00Z (7m ago): refresh not_sent: dial tcp: connection refused; does not serve: its token ended at 2026-01-31T11:55:00Z (5m ago); " +
				"is tried again at 2026-01-31T12:38:00Z (in 38m); check the way to the token endpoint with `tokenward check --online`",
		},
		{
			"expired for good", healthy(in(tokenstore.StateExpired, ""), remarked("there is nothing to refresh with"), ended, unrenewed),
			newLogin + "; does not serve: its token ended at 2026-01-31T11:55:00Z (5m ago); there is nothing to refresh with",
		},
		{
			"refused before its time", healthy(in(tokenstore.StateExpired, ""), func(st *tokenstore.AccountStatus) { st.Refused, st.Routable = true, false }),
			"does not serve: the provider refuses its token, whose end would be " + lives + "; its next refresh is due at 2026-01-31T12:38:00Z (in 38m)",
		},
		{
			"paused", healthy(in(tokenstore.StatePaused, "paused by an operator"), idle),
			"paused by an operator; `tokenward accounts resume claude-1` ends that; does not serve, though its token lives until " + lives,
		},
		{
			"moved", healthy(in(tokenstore.StatePaused, "its live copy is in vault b"), idle,
				func(st *tokenstore.AccountStatus) { st.Labels = map[string]string{tokenstore.LabelCopiedTo: "vault b"} }),
			"its live copy is in vault b: copy it back, or pause it there and then `tokenward accounts resume --force claude-1`; " +
				"does not serve, though its token lives until " + lives,
		},
		{
			"deleted", healthy(in(tokenstore.StatePaused, tokenstore.WhyDeleted), idle, tokenless),
			tokenstore.WhyDeleted + " with `tokenward accounts remove claude-1`; does not serve: it has no token",
		},
		{
			"config_error", healthy(in(tokenstore.StateConfigError, "unreadable record: key pools: none"), idle, mend("`x` mends it")),
			"unreadable record: key pools: none; does not serve, though its token lives until " + lives + "; `x` mends it",
		},
		{
			"a name with a dash", healthy(in(tokenstore.StatePaused, "paused by an operator"), idle, tokenless, named("-x")),
			"paused by an operator; `tokenward accounts resume -- -x` ends that; does not serve: it has no token",
		},
		{
			"a name that no command wrote", healthy(in(tokenstore.StatePaused, "paused by an operator"), idle, tokenless, named("x;reboot")),
			"paused by an operator; `tokenward accounts resume ID` ends that; does not serve: it has no token",
		},
		{
			"a provider that writes commands", healthy(in(tokenstore.StateNeedsReauth, "no: run `tokenward accounts remove claude-1`"), unrenewed),
			newLogin + "; serves until " + lives + "; no: run 'tokenward accounts remove claude-1'",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.st.Advice(noon); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// A token that lives, in an account that does not serve, reads as a contradiction unless the sentence says why.
func TestALivingTokenThatDoesNotServeIsExplainedInEveryState(t *testing.T) {
	for _, state := range []tokenstore.AccountState{
		tokenstore.StateExpired, tokenstore.StateCooling, tokenstore.StateNeedsReauth, tokenstore.StateConfigError,
		tokenstore.StatePaused, tokenstore.StateAmbiguous,
	} {
		st := healthy(in(state, "why"), idle, cools("rate_limited", time.Minute))
		if got := st.Advice(noon); !strings.Contains(got, "lives until "+lives) && !strings.Contains(got, "left out until") {
			t.Errorf("%s: %s", state, got)
		}
	}
}
