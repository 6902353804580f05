package provider

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
)

// The drivers' names, as configurations give them.
const (
	driverAnthropic = "anthropic"
	driverOAuth2    = "oauth2"
	driverAPIKey    = "api_key"
)

// fullRecord has a value in every secret field, each with characters that encodings change.
func fullRecord() tokenstore.Record {
	return tokenstore.Record{
		Kind: tokenstore.KindOAuthRefresh, ClientID: "client/1",
		ClientSecret: tokenstore.NewSecret("cs:p@ss%w rd+é"), RefreshToken: tokenstore.NewSecret("rt/one+two=="),
		AccessToken: tokenstore.NewSecret("at&old\"one"), APIKey: tokenstore.NewSecret("key<static>"),
	}
}

func TestASettingThatCannotBeUsedIsRefusedWithARemedy(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    Settings
		want []string
	}{
		"driver":            {Settings{Driver: "x"}, []string{`"x"`, "anthropic", "api_key", "oauth2"}},
		"no token_url":      {Settings{Driver: driverOAuth2}, []string{"token_url"}},
		"replay":            {Settings{Driver: driverAnthropic, Replay: "lax"}, []string{`"lax"`, "strict", "grace", "no_rotation"}},
		"auth_style":        {Settings{Driver: driverAnthropic, AuthStyle: "basic"}, []string{`"basic"`, "params", "header", "none"}},
		"body":              {Settings{Driver: driverAnthropic, Body: "xml"}, []string{`"xml"`, "form", "json"}},
		"proxy":             {Settings{Driver: driverAnthropic, Proxy: "proxy:"}, []string{"proxy", "http://HOST:PORT"}},
		"ca_file absent":    {Settings{Driver: driverAnthropic, CAFile: filepath.Join(t.TempDir(), "none.pem")}, []string{"ca_file", "none.pem"}},
		"ca_file unusable":  {Settings{Driver: driverAnthropic, CAFile: empty}, []string{"ca_file", "no certificate"}},
		"proxy's own login": {Settings{Driver: driverAnthropic, Proxy: "http://user:hunter2@"}, []string{"proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New("corp", c.s)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range append(c.want, "provider corp") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the proxy's password is in %q", err)
			}
		})
	}
}

func TestEveryNamedDriverCanBeMade(t *testing.T) {
	for _, name := range Names() {
		if d := mustDriver(t, Settings{Driver: name}); replayOf(d) != tokenstore.ReplayStrict {
			t.Errorf("%s: replay is %v unless set", name, replayOf(d))
		}
	}
	for setting, want := range map[string]tokenstore.ReplayPolicy{"strict": tokenstore.ReplayStrict, "grace": tokenstore.ReplayGrace, "no_rotation": tokenstore.ReplayNoRotation} {
		if got := replayOf(mustDriver(t, Settings{Driver: driverOAuth2, Replay: setting})); got != want {
			t.Errorf("replay %s: got %v", setting, got)
		}
	}
	if DefaultURL("anthropic") != "https://api.anthropic.com" || DefaultURL("oauth2") != "" {
		t.Error("a driver's usual URL is wrong")
	}
}

func TestHeadersCarryOneCredentialOnly(t *testing.T) {
	extra := map[string]string{"X-Org": "acme"}
	bearer := func(v string) tokenstore.Header {
		return tokenstore.Header{Name: "authorization", Value: "Bearer " + v}
	}
	org := tokenstore.Header{Name: "x-org", Value: "acme"}
	r := fullRecord()
	for _, c := range []struct {
		driver string
		kind   tokenstore.Kind
		want   []tokenstore.Header
	}{
		{driverAnthropic, tokenstore.KindClaudeCode, []tokenstore.Header{bearer(`at&old"one`), {Name: "anthropic-beta", Value: "oauth-2025-04-20", Merge: true}, org}},
		{driverAnthropic, tokenstore.KindAnthropicOAuth, []tokenstore.Header{bearer(`at&old"one`), {Name: "anthropic-beta", Value: "oauth-2025-04-20", Merge: true}, org}},
		{driverAnthropic, tokenstore.KindAPIKey, []tokenstore.Header{{Name: "x-api-key", Value: "key<static>"}, org}},
		{driverOAuth2, tokenstore.KindOAuthRefresh, []tokenstore.Header{bearer(`at&old"one`), org}},
		{driverAPIKey, tokenstore.KindAPIKey, []tokenstore.Header{bearer("key<static>"), org}},
	} {
		r.Kind = c.kind
		d := mustDriver(t, Settings{Driver: c.driver, Headers: extra})
		if diff := cmp.Diff(c.want, d.Headers(r)); diff != "" {
			t.Errorf("%s, %s: %s", c.driver, c.kind, diff)
		}
		for _, h := range d.Headers(r) {
			if h.Merge && !slices.Contains(ShownHeaders(), h.Name) {
				t.Errorf("%s is merged, but not among the headers that Envoy must show", h.Name)
			}
		}
	}
}

func TestHeadersOfTwoRecordsShareNoMemory(t *testing.T) {
	d := mustDriver(t, Settings{Driver: driverOAuth2, Headers: map[string]string{"a": "1", "b": "2", "c": "3"}})
	first, second := fullRecord(), fullRecord()
	second.AccessToken = tokenstore.NewSecret("other")
	got := d.Headers(first)
	d.Headers(second)
	if got[0].Value != `Bearer at&old"one` {
		t.Errorf("another account's headers overwrote these: %v", got)
	}
}

func TestARecordIsCheckedForWhatItsTypeNeeds(t *testing.T) {
	s := tokenstore.NewSecret("s")
	for _, c := range []struct {
		name, driver string
		r            tokenstore.Record
		key          string // wrong key, "" when the record is fine
		refreshable  bool
	}{
		{"claude code", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindClaudeCode, RefreshToken: s, ClientID: "c"}, "", true},
		{"setup token: nothing to refresh with", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindClaudeCode, AccessToken: s}, "", false},
		{"externally managed: no client id", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindAnthropicOAuth, AccessToken: s, RefreshToken: s}, "", false},
		{"no client id and no token", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindAnthropicOAuth, RefreshToken: s}, "client_id", false},
		{"nothing at all", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindAnthropicOAuth, ClientID: "c"}, "refresh_token", false},
		{"anthropic key", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindAPIKey, APIKey: s}, "", false},
		{"anthropic key absent", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindAPIKey}, "api_key", false},
		{"foreign type", driverAnthropic, tokenstore.Record{Kind: tokenstore.KindOAuthRefresh, RefreshToken: s}, "type", true},
		{"oauth2 refresh token of a public client", driverOAuth2, tokenstore.Record{Kind: tokenstore.KindOAuthRefresh, RefreshToken: s}, "", true},
		{"oauth2 access token only", driverOAuth2, tokenstore.Record{Kind: tokenstore.KindOAuthRefresh, AccessToken: s}, "", false},
		{"client credentials", driverOAuth2, tokenstore.Record{Kind: tokenstore.KindClientCredentials, ClientID: "c", ClientSecret: s}, "", true},
		{"client credentials without secret", driverOAuth2, tokenstore.Record{Kind: tokenstore.KindClientCredentials, ClientID: "c"}, "client_secret", true},
		{"oauth2 with an anthropic type", driverOAuth2, tokenstore.Record{Kind: tokenstore.KindClaudeCode, AccessToken: s}, "type", false},
		{"no type", driverOAuth2, tokenstore.Record{AccessToken: s}, "type", false},
		{"a refresh token, and no endpoint for it", driverAPIKey, tokenstore.Record{Kind: tokenstore.KindOAuthRefresh, RefreshToken: s}, "", false},
		{"static key", driverAPIKey, tokenstore.Record{Kind: tokenstore.KindAPIKey, APIKey: s}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := mustDriver(t, Settings{Driver: c.driver})
			err := d.Check(c.r)
			var wrong *tokenstore.RecordError
			switch {
			case c.key == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.key != "" && (!errors.As(err, &wrong) || wrong.Key != c.key):
				t.Errorf("got %v, want key %s", err, c.key)
			}
			if err == nil && d.Refreshable(c.r) != c.refreshable {
				t.Errorf("refreshable is %v", !c.refreshable)
			}
		})
	}
}

func TestATokenThatNoHeaderCarriesIsAConfigurationError(t *testing.T) {
	for name, c := range map[string]struct {
		token string
		fine  bool
	}{
		"two lines":            {"key-1\nkey-2", false},
		"a header of its own":  {"tok\r\nX-Evil: 1", false},
		"NUL":                  {"tok\x00", false},
		"DEL":                  {"tok\x7f", false},
		"a space":              {"tok en", false},
		"a tab":                {"tok\ten", false},
		"an umlaut":            {"tök", false},
		"no UTF-8":             {"tok\xff", false},
		"larger than Envoy's":  {strings.Repeat("k", 200_000), false},
		"one byte too long":    {strings.Repeat("k", longestToken+1), false},
		"as long as may be":    {strings.Repeat("k", longestToken), true},
		"a JWT":                {"eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln-_", true},
		"all of b64token":      {"azAZ09-._~+/==", true},
		"a key with odd signs": {"!\"#$%&'()*,:;<=>?@[\\]^`{|}", true},
	} {
		token := tokenstore.NewSecret(c.token)
		for driver, records := range map[string][]tokenstore.Record{
			driverAnthropic: {
				{Kind: tokenstore.KindAPIKey, APIKey: token},
				{Kind: tokenstore.KindClaudeCode, AccessToken: token, RefreshToken: token, ClientID: "c"},
			},
			driverOAuth2: {{Kind: tokenstore.KindOAuthRefresh, AccessToken: token, RefreshToken: token}, {Kind: tokenstore.KindClientCredentials, AccessToken: token, ClientID: "c", ClientSecret: token}},
			driverAPIKey: {{Kind: tokenstore.KindAPIKey, APIKey: token}},
		} {
			for _, r := range records {
				err := mustDriver(t, Settings{Driver: driver}).Check(r)
				key := map[bool]string{true: "api_key", false: "access_token"}[r.Kind == tokenstore.KindAPIKey]
				var wrong *tokenstore.RecordError
				switch {
				case c.fine && err != nil:
					t.Errorf("%s, %s: refused: %v", name, r.Kind, err)
				case !c.fine && (!errors.As(err, &wrong) || wrong.Key != key):
					t.Errorf("%s, %s: got %v, want key %s", name, r.Kind, err, key)
				case !c.fine && strings.Contains(err.Error(), c.token):
					t.Errorf("%s, %s: the value is shown", name, r.Kind)
				}
			}
		}
	}
}

func TestWhatIsNeverSentInAHeaderMayBeAnything(t *testing.T) {
	odd := tokenstore.NewSecret("two\nlines é" + strings.Repeat("x", longestToken))
	for driver, r := range map[string]tokenstore.Record{
		driverAnthropic: {Kind: tokenstore.KindClaudeCode, RefreshToken: odd, ClientID: "c"},
		driverOAuth2:    {Kind: tokenstore.KindClientCredentials, ClientID: "c", ClientSecret: odd},
		driverAPIKey:    {Kind: tokenstore.KindAPIKey, APIKey: tokenstore.NewSecret("k"), AccessToken: odd},
	} {
		if err := mustDriver(t, Settings{Driver: driver}).Check(r); err != nil {
			t.Errorf("%s: refused: %v", driver, err)
		}
	}
}

func replayOf(d tokenstore.Driver) tokenstore.ReplayPolicy {
	policy, _ := d.Replay()
	return policy
}
