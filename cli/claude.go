package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// claudeTokens is what Claude Code's credentials file tells of a login.
type claudeTokens struct {
	accessToken, refreshToken tokenstore.Secret
	expires                   time.Time // zero: not told
	scopes                    []string
	notes                     []string // what was read although it is odd
}

func (a *app) importClaude(
	cmd *cobra.Command, ctx context.Context, s *Session, name, file, provider, clientID string, pools []string, o over,
) error {
	id, err := accountID(name)
	if err != nil {
		return err
	}
	flag := "--file"
	if file == "" {
		flag = ""
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		file = filepath.Join(home, ".claude", ".credentials.json")
	}
	data, err := readJSON(cmd, flag, file, "Claude Code's login")
	var unread *unreadError
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("importing from Claude Code: %w: sign in there first, or give --file", err)
	case errors.As(err, &unread):
		return fmt.Errorf("importing from Claude Code: %w", err)
	case err != nil:
		return fmt.Errorf("importing from Claude Code: %s holds no claudeAiOauth object that can be read: %w", file, err)
	}
	login, err := readClaude(data, clientID)
	if err != nil {
		return fmt.Errorf("importing from Claude Code: %s %w", file, err)
	}
	became, err := s.put(cmd, ctx, id, o, func(r *tokenstore.Record) {
		ended := !login.expires.IsZero() && login.expires.Before(time.Now())
		// what lives, serves until the file's is refreshed
		keep := ended && r.Provider == provider && r.ExpiresAt.After(time.Now())
		if !keep {
			*r = r.WithoutToken()
		}
		r.Provider, r.Kind = provider, tokenstore.KindClaudeCode
		if clientID != "" { // what is not given stays, if the account is there
			r.ClientID = clientID
		}
		if len(pools) > 0 {
			r.Pools = pools
		}
		r.RefreshToken, r.Scope = login.refreshToken, strings.Join(login.scopes, " ")
		if keep {
			return
		}
		if r.AccessToken = login.accessToken; !login.expires.IsZero() && !login.accessToken.IsZero() {
			r.ExpiresAt, r.ObtainedAt = login.expires, time.Now().UTC()
		}
	})
	if err != nil {
		return err
	}
	for _, n := range login.notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", n)
	}
	fmt.Fprintln(cmd.ErrOrStderr(),
		"note: this refresh token is tokenward's now; sign in again to Claude Code if you go on using it there. The "+
			"provider's terms decide who may use a subscription's credential.")
	return a.done(cmd, "account %s %s", id, became)
}

// readClaude reads the file's tokens. Errors are what is wrong with the file, to be put behind its name. A new sign-in
// is advised only if there is no token that it would make worthless.
func readClaude(data []byte, clientID string) (claudeTokens, error) {
	var top map[string]json.RawMessage
	if json.Unmarshal(data, &top) != nil {
		return claudeTokens{}, fmt.Errorf("is not a JSON object: give the whole file that Claude Code wrote")
	}
	raw, ok := top["claudeAiOauth"]
	if !ok && (top["accessToken"] != nil || top["refreshToken"] != nil) {
		return claudeTokens{}, fmt.Errorf(
			`holds only the inside of the claudeAiOauth object: put {"claudeAiOauth": …} around it`,
		)
	}
	var in map[string]json.RawMessage
	if bad := json.Unmarshal(raw, &in) != nil; ok && bad {
		return claudeTokens{}, fmt.Errorf("has a claudeAiOauth that is no object: give the whole file that Claude Code wrote")
	} else if bad || len(in) == 0 {
		return claudeTokens{}, errors.New(
			"holds no claudeAiOauth object: it is another program's file, or nobody is signed in: sign in to Claude Code first",
		)
	}
	var l claudeTokens
	for key, f := range map[string]struct {
		to *tokenstore.Secret
		g  tokenstore.Grammar
	}{
		"accessToken":  {&l.accessToken, tokenstore.AccessTokenText},
		"refreshToken": {&l.refreshToken, tokenstore.RefreshTokenText},
	} {
		var text string
		if in[key] == nil || string(in[key]) == "null" || string(in[key]) == `""` {
			continue
		}
		if json.Unmarshal(in[key], &text) != nil {
			return claudeTokens{}, fmt.Errorf("has a claudeAiOauth.%s that is no string: take the file as Claude Code wrote it",
				key)
		}
		s, flaw := tokenstore.ReadSecret([]byte(text), f.g)
		if flaw != "" {
			return claudeTokens{}, fmt.Errorf("has a claudeAiOauth.%s that %s", key, flaw)
		}
		*f.to = s
	}
	if raw := in["scopes"]; raw != nil && json.Unmarshal(raw, &l.scopes) != nil {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return claudeTokens{}, fmt.Errorf("has claudeAiOauth.scopes that are no list of strings: mend or remove them")
		}
		l.scopes = strings.Fields(strings.ReplaceAll(text, ",", " "))
	}
	switch {
	case l.accessToken.IsZero() && l.refreshToken.IsZero():
		return claudeTokens{}, errors.New(
			"holds a claudeAiOauth object with neither accessToken nor refreshToken: nobody is signed in: sign in to Claude " +
				"Code first",
		)
	case l.accessToken.IsZero() && clientID == "":
		return claudeTokens{}, errors.New(
			"holds a refreshToken and no accessToken: give --client-id, the OAuth client that the refresh token was issued " +
				"to, so that tokenward can get one; no new sign-in is needed",
		)
	}
	var err error
	l.expires, l.notes, err = claudeExpiry(in["expiresAt"])
	return l, err
}

// claudeExpiry reads expiresAt: Unix milliseconds, and what other tools make of them.
func claudeExpiry(raw json.RawMessage) (at time.Time, notes []string, err error) {
	const rule = "Unix milliseconds, e.g. 1767225600000"
	wrong := func() error {
		return fmt.Errorf(
			"has a claudeAiOauth.expiresAt that is no time: it must be a number, %s: mend it, or remove it if it is not known",
			rule,
		)
	}
	var text string
	switch {
	case raw == nil, string(raw) == "null", string(raw) == `""`:
		return at, []string{"claudeAiOauth.expiresAt is missing: when the access token ends is not known"}, nil
	case json.Unmarshal(raw, &text) == nil:
		text = strings.TrimSpace(text)
		if t, terr := time.Parse(time.RFC3339, text); terr == nil {
			return t.UTC(), []string{
				"claudeAiOauth.expiresAt is a text, not " + rule + ": it was read as the time that it names",
			}, nil
		}
		notes = append(notes, "claudeAiOauth.expiresAt is a string, not a number: it was read as one")
	default:
		text = string(bytes.TrimSpace(raw))
	}
	n, ferr := strconv.ParseFloat(text, 64)
	switch {
	case ferr != nil || !(n > 0 && n < 1e17):
		return at, nil, wrong()
	case n < 1e11: // the year 5138 in seconds, 1973 in milliseconds
		notes = append(notes, "claudeAiOauth.expiresAt is in seconds, not milliseconds: it was read as seconds")
		n *= 1e3
	case n > 1e16: // nanoseconds are beyond; microseconds of our time are 1.7e15
		return at, nil, wrong()
	case n > 1e14:
		notes = append(notes, "claudeAiOauth.expiresAt is in microseconds, not milliseconds: it was read as microseconds")
		n /= 1e3
	}
	at = time.UnixMilli(int64(n)).UTC()
	if at.Before(time.Now()) {
		notes = append(notes,
			"its access token ended at "+at.Format(time.RFC3339)+": it is refreshed at once if --client-id is given")
	}
	return at, notes, nil
}
