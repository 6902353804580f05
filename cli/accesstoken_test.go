package cli

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestAnAccessTokenTakesThePlaceOfALivingOneOnlyIfTheRecordNeedsIt(t *testing.T) {
	ago, ahead := time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().Add(2*time.Hour).Format(time.RFC3339)
	dead := func(r *tokenstore.Record) {
		r.Rotation.Last = &tokenstore.Outcome{
			Result: "failed", Class: tokenstore.RefreshPermanent, Error: "invalid_grant",
			Fingerprint: tokenstore.Fingerprint("a", r.RefreshToken),
		}
	}
	paused := func(r *tokenstore.Record) { r.State = tokenstore.Paused }
	for name, c := range map[string]struct {
		edit  func(*tokenstore.Record) // of the record that is there
		flags []string
		code  int // of the exit; 0: the token is taken
	}{
		"it renews itself":                     {nil, nil, ExitRefused},
		"with an end":                          {nil, []string{"--expires-at", ahead}, ExitRefused},
		"paused":                               {paused, nil, ExitRefused},
		"ended already":                        {nil, []string{"--expires-at", ago}, ExitUsage},
		"ended already, of a new login":        {nil, []string{"--expires-at", ago, "--refresh-token-file", "rt"}, 0},
		"ended already, and all that there is": {noRefreshToken, []string{"--expires-at", ago}, ExitUsage},
		"told to":                              {nil, []string{"--force"}, 0},
		"of a new login":                       {nil, []string{"--refresh-token-file", "rt"}, 0},
		"nothing to refresh with":              {noRefreshToken, nil, 0},
		"a dead refresh token":                 {dead, nil, 0},
		"an unknown outcome": {func(r *tokenstore.Record) {
			r.Rotation.Claim = &tokenstore.Claim{AttemptID: "x", Holder: "h", Ambiguous: true}
		}, nil, 0},
		"its own has ended":             {func(r *tokenstore.Record) { *r = expired() }, nil, 0},
		"its own has an unknown end":    {func(r *tokenstore.Record) { r.ExpiresAt = time.Time{} }, nil, 0},
		"it has none":                   {func(r *tokenstore.Record) { *r = r.WithoutToken() }, nil, 0},
		"the account is another's soon": {nil, []string{"--provider", "q", "--pool", "other"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			old := living()
			if c.edit != nil {
				c.edit(&old)
			}
			s.put(t, "a", old)
			args := []string{"accounts", "add", "a", "--access-token-file", "-"}
			for _, f := range c.flags {
				if f == "rt" {
					f = s.file(t, "rt", planted+"new")
				}
				args = append(args, f)
			}
			r := s.run(t, planted+"junk", args...)
			expect(t, "exit code: "+r.err, r.code, c.code)
			got := s.record(t, "a")
			if c.code == 0 {
				expect(t, "access token", got.AccessToken.Reveal(), planted+"junk")
				return
			}
			has(t, r.err, "adding account a: ", "lives until", "leave it out")
			expect(t, "access token", got.AccessToken.Equal(old.AccessToken) && got.ExpiresAt.Equal(old.ExpiresAt), true)
			expect(t, "refresh token", got.RefreshToken.Equal(old.RefreshToken), true)
		})
	}
}

func noRefreshToken(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} }

func TestTheSameAccessTokenAgainIsNoOtherOne(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	expect(t, "exit code", s.run(t, planted+"access", "accounts", "add", "a", "--access-token-file", "-").code, 0)
}
