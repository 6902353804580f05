package cli

import (
	"encoding/json"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func raw(s string) map[string]json.RawMessage {
	var keys map[string]json.RawMessage
	_ = json.Unmarshal([]byte(s), &keys)
	return keys
}

func TestASlipIsShownByListAndShow(t *testing.T) {
	s := stocked(t)
	s.Patch("good", raw(`{"labels":"team-red","clientId":"x"}`))
	for _, args := range [][]string{{"accounts", "list"}, {"accounts", "show", "good"}, {"accounts", "list", "-o", "json"}} {
		has(t, s.good(t, args...), "config_error in key labels", "did you mean client_id?", "active")
	}
}

func TestAnEditOfAnotherKeyKeepsASlipAndOneOfItsKeyMendsIt(t *testing.T) {
	s := stocked(t)
	s.Patch("good", raw(`{"labels":"team-red","state":"pausd"}`))
	has(t, s.good(t, "accounts", "list"), "config_error in key state", "the account is held")
	s.good(t, "accounts", "pause", "good")
	expect(t, "labels", string(s.Document("good")["labels"]), `"team-red"`)
	expect(t, "state", string(s.Document("good")["state"]), `"paused"`)
	s.Patch("good", raw(`{"state":"pausd"}`))
	s.good(t, "accounts", "resume", "good")
	expect(t, "state", s.record(t, "good").State, tokenstore.Active)
	expect(t, "labels", string(s.Document("good")["labels"]), `"team-red"`)
}

func TestAnAccountThatNobodyCanUseIsMendedByAdd(t *testing.T) {
	s := stocked(t)
	s.Patch("good", raw(`{"provider":4711,"refresh_token":["x"]}`))
	r := s.run(t, planted+"new", "accounts", "add", "good", "--provider", "p", "--refresh-token-file", "-")
	expect(t, "exit code: "+r.err, r.code, 0)
	got := s.record(t, "good")
	expect(t, "provider", got.Provider, "p")
	expect(t, "refresh token", got.RefreshToken.Reveal(), planted+"new")
	expect(t, "slips", len(got.Slips), 0)
}

func TestWhatIsImportedIsToBeRight(t *testing.T) {
	for doc, key := range map[string]string{
		`{"labels":"team-red"}`: "labels", `{"limits":{"rpm":-1}}`: "limits.rpm", `{"state":"pausd"}`: "state", `{"scope":["a"]}`: "scope", `{"expires_at":1}`: "expires_at",
	} {
		s := newShell(t)
		keys := raw(doc)
		keys["provider"], keys["type"], keys["refresh_token"] = json.RawMessage(`"p"`), json.RawMessage(`"oauth_refresh"`), json.RawMessage(`"rt"`)
		file, _ := json.Marshal(map[string]any{"n": keys})
		r := s.run(t, "", "accounts", "import", "--from", "json", "--file", s.file(t, "in", string(file)))
		expect(t, doc+": exit code", r.code, ExitFailed)
		has(t, r.err, "importing account n", "key "+key)
		expect(t, "stored", s.count(t), 0)
	}
}
