package cli

import (
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestResumeSaysWhatTheAccountIsNow(t *testing.T) {
	fp := tokenstore.Fingerprint("a", living().RefreshToken)
	for name, c := range map[string]struct {
		change func(r *tokenstore.Record)
		code   int
		out    string
		err    string
	}{
		"well": {func(*tokenstore.Record) {}, 0, "account a is active\n", ""},
		"dead": {func(r *tokenstore.Record) {
			r.Rotation.Last = &tokenstore.Outcome{Result: "failed", Class: tokenstore.RefreshPermanent, Fingerprint: fp, Error: "invalid_grant"}
		}, ExitNeedsHuman, "account a is not paused, and needs_reauth\n", "log in at the provider again"},
		"no provider":  {func(r *tokenstore.Record) { r.Provider = "gone" }, ExitNeedsHuman, "account a is not paused, and config_error\n", `provider: "gone"`},
		"a bad secret": {func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret(`"` + planted + `"`) }, ExitNeedsHuman, "account a is not paused, and config_error\n", "has quotes around it"},
		"ambiguous": {func(r *tokenstore.Record) {
			r.Rotation.Claim = &tokenstore.Claim{AttemptID: "x", Holder: "h", Ambiguous: true}
		}, 0, "account a is not paused, and ambiguous: nothing to do now; serves until", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			old := living()
			old.State = tokenstore.Paused
			c.change(&old)
			s.put(t, "a", old)
			r := s.run(t, "", "accounts", "resume", "a")
			expect(t, "exit code", r.code, c.code)
			has(t, r.out, c.out)
			has(t, r.err, c.err)
			expect(t, "state", s.record(t, "a").State, tokenstore.Active)
		})
	}
}

func TestPauseOfWhatIsPausedSaysThatNothingWasChanged(t *testing.T) {
	s := newShell(t)
	s.put(t, "a", living())
	s.good(t, "accounts", "pause", "a")
	_, v, _ := s.Memory.Load(t.Context(), "a")
	has(t, s.good(t, "accounts", "pause", "a"), "account a is paused already, and nothing was changed")
	_, now, _ := s.Memory.Load(t.Context(), "a")
	expect(t, "version", now, v)
}

func TestResumeEndsTheWordOfARejectedCredential(t *testing.T) {
	s := newShell(t)
	old := living()
	old.Rotation.Rejected = &tokenstore.Rejection{At: time.Now(), Error: "invalid_grant"}
	s.put(t, "a", old)
	has(t, s.good(t, "accounts", "list"), "the former one is in use again")
	s.good(t, "accounts", "resume", "a")
	if s.record(t, "a").Rotation.Rejected != nil {
		t.Error("it is still told")
	}
}
