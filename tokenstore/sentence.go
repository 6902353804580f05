package tokenstore

import (
	"fmt"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// newCredential says what a human does about a dead credential.
func (s AccountStatus) newCredential() string {
	first := "log in at the provider again"
	switch s.Kind {
	case record.KindClientCredentials:
		first = "get a new client secret from the provider"
	case record.KindAPIKey:
		first = "get a new key from the provider"
	default: // all others have a refresh token
	}
	return first + ", then `" + s.credentialCommand() + "`"
}

func (s AccountStatus) credentialCommand() string {
	switch s.Kind {
	case record.KindClientCredentials:
		return s.command("add", "--client-secret-file", "-")
	case record.KindAPIKey:
		return s.command("add", "--api-key-file", "-")
	default: // all others have a refresh token
	}
	return s.command("add", "--refresh-token-file", "-")
}

// command is one of `tokenward accounts` on this account, fit to be pasted into a shell.
func (s AccountStatus) command(verb string, flags ...string) string {
	return accountsCommand(verb, s.ID, flags...)
}

func accountsCommand(verb string, id record.ID, flags ...string) string {
	words := append([]string{"tokenward", "accounts", verb}, flags...)
	switch {
	case id.Validate() != nil:
		return strings.Join(append(words, "ID"), " ") // a name that no command wrote is not pasted
	case id[0] == '-':
		return strings.Join(append(words, "--", string(id)), " ")
	case len(flags) == 1: // a switch reads better before the name
		return strings.Join(append(words, string(id)), " ")
	}
	return strings.Join(append([]string{"tokenward", "accounts", verb, string(id)}, flags...), " ")
}

// cause is what is wrong, in words that cannot be taken for our commands.
func (s AccountStatus) cause() string { return theirs(s.Cause) }

// theirs is what somebody else said, without backticks.
func theirs(s string) string {
	return strings.TrimRight(strings.ReplaceAll(s, "`", "'"), ": ")
}

// moment is an instant for people and for tools: "2026-01-31T12:00:00Z (in 58m)".
func moment(t, now time.Time) string {
	left := t.Sub(now)
	at := t.UTC().Format(time.RFC3339)
	if left < 0 {
		return at + " (" + span(-left) + " ago)"
	}
	return at + " (in " + span(left) + ")"
}

// span is a duration in its one fitting unit.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Round(time.Second)/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute)/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Round(time.Hour)/time.Hour))
	}
	return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
}
