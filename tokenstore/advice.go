package tokenstore

import (
	"fmt"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
	"github.com/tokenward/tokenward/tokenstore/verdict"
)

// Advice is the one sentence on an account that status, list, page and log show: what to do first, with the command in
// backticks, whether it serves and until when, and what is wrong. "" when all is well.
func (s AccountStatus) Advice(now time.Time) string {
	said := s.onState(now)
	for _, r := range s.Remarks {
		if r = theirs(r); s.State != StateConfigError && !strings.Contains(said, r) {
			said = join(said, r)
		}
	}
	return join(said, s.Mend)
}

// onState is the table: a sentence for each state.
func (s AccountStatus) onState(now time.Time) string {
	switch s.State {
	case StateNeedsReauth:
		return join(s.newCredential(), s.serving(now), s.cooling(now), s.cause())
	case StateConfigError:
		return join(s.cause(), s.serving(now))
	case StatePaused:
		return s.held(now)
	case StateAmbiguous:
		return join("nothing to do now", s.serving(now), s.replay(now), s.cooling(now),
			"have a new login ready for `"+s.credentialCommand()+"` in case it is refused", s.cause())
	case StateCooling:
		return join(s.cooling(now), s.failing(now))
	case StateExpired:
		return s.expired(now)
	case StateExpiring:
		if s.FailingSince.IsZero() {
			return join("its renewal is due or under way; "+s.serving(now), s.full(now), s.cause())
		}
	case StateActive:
		if !s.Refreshable && !s.ExpiresAt.IsZero() {
			return join(s.newCredential(), s.serving(now), s.full(now), s.cause())
		}
	}
	return join(s.failing(now), s.full(now), s.cause())
}

// serving says whether it serves and until when. A token that lives and does not serve is said so: the two contradict
// each other in a table.
func (s AccountStatus) serving(now time.Time) string {
	has, endless, lives := s.Fingerprint != "", s.ExpiresAt.IsZero(), s.lives(now)
	switch {
	case s.Routable && lives && endless:
		return "serves"
	case s.Routable && lives:
		return "serves until " + moment(s.ExpiresAt, now)
	case s.Routable:
		return "serves after its next refresh"
	case lives && endless:
		return "does not serve, though its token lives"
	case lives:
		return "does not serve, though its token lives until " + moment(s.ExpiresAt, now)
	case has && s.Refused && endless:
		return "does not serve: the provider refuses its token"
	case has && s.Refused:
		return "does not serve: the provider refuses its token, whose end would be " + moment(s.ExpiresAt, now)
	case has:
		return "does not serve: its token ended at " + moment(s.ExpiresAt, now)
	}
	return "does not serve: it has no token"
}

// lives reports whether its token has not ended and is not refused.
func (s AccountStatus) lives(now time.Time) bool {
	return s.Fingerprint != "" && !s.Refused && (s.ExpiresAt.IsZero() || s.ExpiresAt.After(now))
}

// cooling says why and until when it is left out, and what lifts that.
func (s AccountStatus) cooling(now time.Time) string {
	var said []string
	for _, c := range s.Cooldowns {
		said = append(said, s.cooldown(c, now))
	}
	switch {
	case len(said) > 0:
	case s.State == StateCooling:
		said = append(said, join(s.cause(), s.serving(now)))
	default:
		return ""
	}
	if len(s.Cooldowns) > 0 && s.State == StateCooling && s.lives(now) && !s.ExpiresAt.IsZero() {
		said = append(said, "its token lives until "+moment(s.ExpiresAt, now))
	}
	return join(append(said, "`"+s.command("resume")+"` lifts it now")...)
}

func (s AccountStatus) cooldown(c Cooldown, now time.Time) string {
	until := moment(c.Until, now) + "; next probe "
	switch {
	case c.Probe.IsZero():
		until += "then"
	case c.Probe.After(now):
		until += "at " + moment(c.Probe, now)
	default:
		until += "with the next request"
	}
	switch c.Reason {
	case verdict.ClassRateLimited.String():
		return "rate limited by the provider until " + until
	case verdict.ClassTokenRejected.String():
		return join("the provider refuses its token (token_rejected): left out until "+until,
			"if that goes on, "+s.newCredential())
	case verdict.ClassBilling.String():
		return "look at the account's credit, the provider wants payment (billing): left out until " + until
	case verdict.ClassAccountBlocked.String():
		return "look at the account at the provider, which blocks it (account_blocked): left out until " + until
	}
	return c.Reason + ": left out until " + until
}

// full says which of its own limits leaves no room.
func (s AccountStatus) full(now time.Time) string {
	f := s.Full
	if f == nil {
		return ""
	}
	limit := fmt.Sprintf("at its limit limits.%s: %d, which is yours and not the provider's: room again ", f.Key, f.Most)
	if f.Until.IsZero() {
		return limit + "when an attempt is answered"
	}
	return limit + "at " + moment(f.Until, now)
}

// failing says since when renewal fails, why, until when it serves, when it is tried again and what to check.
func (s AccountStatus) failing(now time.Time) string {
	if s.FailingSince.IsZero() {
		return ""
	}
	again := "is tried again by itself"
	if s.NextRefresh.After(now) {
		again = "is tried again at " + moment(s.NextRefresh, now)
	}
	check := "check the way to the token endpoint with `tokenward check --online`"
	if s.Last != nil && s.Last.Class == record.RefreshMisconfigured {
		check = "check client id, client secret and the provider's settings, then `" + s.command("refresh") + "`"
	}
	return join("renewal has failed since "+moment(s.FailingSince, now)+": "+theirs(s.LastError), s.serving(now), again,
		check)
}

func (s AccountStatus) expired(now time.Time) string {
	switch {
	case !s.Refreshable:
		return join(s.newCredential(), s.serving(now), s.cause())
	case !s.FailingSince.IsZero():
		return join(s.failing(now), s.cause())
	case s.NextRefresh.After(now):
		return join(s.serving(now), "its next refresh is due at "+moment(s.NextRefresh, now), s.cause())
	}
	return join(s.serving(now), "its refresh is due or under way", s.cause())
}

// held says by whom or what it is paused, and what ends that.
func (s AccountStatus) held(now time.Time) string {
	serving := s.serving(now)
	switch to := s.Labels[record.LabelCopiedTo]; {
	case s.Cause == WhyDeleted:
		return join(WhyDeleted+" with `"+s.command("remove")+"`", serving)
	case to != "":
		return join(s.cause()+": copy it back, or pause it there and then `"+s.command("resume", "--force")+"`", serving)
	}
	return join(s.cause()+"; `"+s.command("resume")+"` ends that", serving)
}

// replay says when a credential is presented again whose last use had an unknown outcome.
func (s AccountStatus) replay(now time.Time) string {
	if s.ReplayAt.After(now) {
		return "its refresh token is tried once more at " + moment(s.ReplayAt, now)
	}
	return "its refresh token is tried once more by itself"
}
