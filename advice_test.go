package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// TestEveryCommandInAnAdviceCanBePasted goes through the sentences of all states, kinds and faults of records.
func TestEveryCommandInAnAdviceCanBePasted(t *testing.T) {
	var sentences []string
	now := time.Now()
	kinds := []tokenstore.Kind{
		tokenstore.KindOAuthRefresh, tokenstore.KindAnthropicOAuth, tokenstore.KindClaudeCode,
		tokenstore.KindClientCredentials, tokenstore.KindAPIKey,
	}
	states := []tokenstore.AccountState{
		tokenstore.StateActive, tokenstore.StateExpiring, tokenstore.StateExpired, tokenstore.StateCooling,
		tokenstore.StateNeedsReauth, tokenstore.StateConfigError, tokenstore.StatePaused, tokenstore.StateAmbiguous,
	}
	for _, id := range []tokenstore.AccountID{"claude-1", "-dash", "--", "_.x"} {
		for _, kind := range kinds {
			for _, state := range states {
				for _, reason := range []string{"", "rate_limited", "token_rejected", "billing", "account_blocked"} {
					st := tokenstore.AccountStatus{
						ID:          id,
						Kind:        kind,
						State:       state,
						Cause:       "why",
						ExpiresAt:   now.Add(time.Hour),
						Fingerprint: "f",
					}
					if reason != "" {
						st.Cooldowns = []tokenstore.Cooldown{{Until: now.Add(time.Minute), Reason: reason}}
					}
					sentences = append(sentences, st.Advice(now))
					for _, class := range []tokenstore.RefreshClass{
						tokenstore.RefreshTransient, tokenstore.RefreshMisconfigured, tokenstore.RefreshNotSent,
					} {
						st.Last, st.FailingSince, st.Refreshable = &tokenstore.Outcome{Class: class}, now, true
						sentences = append(sentences, st.Advice(now))
					}
				}
			}
			for _, key := range []string{"provider", "pools", "limits.rpm", "limits.concurrency", "refresh_token", "access_token", "client_id", "client_secret", "api_key", "type", "state", ""} {
				sentences = append(sentences, faulty(id, kind, key))
			}
			for _, labels := range []map[string]string{nil, {tokenstore.LabelCopiedTo: "vault b"}} {
				st := tokenstore.StoredStatus(id,
					tokenstore.Record{Kind: kind, Provider: "p", State: tokenstore.Paused, Labels: labels}, nil, pickyDrivers(""),
					twoPools, now)
				sentences = append(sentences, st.Reason)
			}
			sentences = append(sentences,
				tokenstore.StoredStatus(id, tokenstore.Record{}, tokenstore.ErrDeleted, pickyDrivers(""), twoPools, now).Reason)
		}
	}
	commands := map[string]bool{}
	for _, s := range sentences {
		if strings.Count(s, "`")%2 != 0 {
			t.Errorf("backticks without a partner: %s", s)
		}
		for i, part := range strings.Split(s, "`") {
			if i%2 == 1 {
				commands[part] = true
			} else if strings.Contains(part, "tokenward accounts") {
				t.Errorf("a command without backticks: %s", s)
			}
		}
	}
	if len(commands) < 20 {
		t.Errorf("only %d commands were found", len(commands))
	}
	for c := range commands {
		parse(t, c)
	}
}

// parse fails the test unless the command exists, takes the flags and the arguments.
func parse(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	if words[0] != "tokenward" {
		t.Errorf("%s is not ours", line)
		return
	}
	r := root()
	cmd, rest, err := r.Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil || cmd.HasSubCommands() {
		t.Errorf("%s: %v (%s)", line, err, cmd.CommandPath())
	}
}

var twoPools = map[string]tokenstore.PoolConfig{"p": {Provider: "p"}, "q": {Provider: "q"}}

func pickyDrivers(wrong string) map[string]tokenstore.Driver {
	return map[string]tokenstore.Driver{"p": picky{tokenstoretest.NewDriver(), wrong}}
}

// picky finds one key of every record wrong.
type picky struct {
	tokenstore.Driver
	key string
}

func (p picky) Check(tokenstore.Record) error {
	if p.key == "" {
		return nil
	}
	return &tokenstore.RecordError{Key: p.key, Rule: "must be otherwise"}
}

// faulty is the sentence on a record of which one key is wrong.
func faulty(id tokenstore.AccountID, kind tokenstore.Kind, key string) string {
	r := tokenstore.Record{Provider: "p", Kind: kind}
	switch key {
	case "provider":
		r.Provider = "gone"
	case "pools":
		r.Pools = []string{"q"}
	case "limits.rpm":
		r.Limits.RPM = -1
	case "limits.concurrency":
		r.Limits.Concurrency = -1
	}
	return tokenstore.StoredStatus(id, r, nil, pickyDrivers(key), twoPools, time.Now()).Reason
}
