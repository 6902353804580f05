package near

import "testing"

func TestTheNearestWordIsWhatWasMostLikelyMeant(t *testing.T) {
	known := []string{"accounts", "status", "check", "anthropic", "claude", "claude-eu", "oauth2", "api_key", "refresh_token", "limits.rpm", "mine"}
	for word, want := range map[string]string{
		"antropic": "anthropic", "anthropci": "anthropic", "Anthropic": "anthropic", "anthropics": "anthropic", "anthro": "anthropic", "clade": "claude",
		"claude_eu": "claude-eu", "claude-ue": "claude-eu", "oauth": "oauth2", "apikey": "api_key", "api-key": "api_key", "refreshToken": "refresh_token", "limits rpm": "limits.rpm",
		"acounts": "accounts", "STATUS": "status", "chekc": "check", "serve": "", "accounts": "",
		"mnie": "mine", "min": "mine", "nowhere": "", "saml": "", "x": "", "": "", "zz": "", "claude": "", "mein-anbieter": "",
	} {
		if got := Word(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
