package envoy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNoCredentialInEnvoysLogIsShown: in none of the forms in which Envoy prints headers and messages.
func TestNoCredentialInEnvoysLogIsShown(t *testing.T) {
	const secret = "zk4-PLAIN_9f"
	for _, line := range []string{
		"'authorization', 'Bearer " + secret + "'",
		"      'x-api-key', '" + secret + "'",
		"'cookie', 'a=" + secret + "'",
		"authorization: Bearer " + secret,
		"Authorization: Basic " + secret,
		"':path', '/v1?key=" + secret + "&a=b'",
		`set_headers { header { key: "authorization" raw_value: "Bearer ` + secret + `" } }`,
		`  raw_value: "Bearer ` + secret + `"`,
		`{"access_token":"` + secret + `","expires_in":3}`,
		`{"headers": {"x-goog-api-key": "` + secret + `"}}`,
		"refresh_token=" + secret,
		"[2026-11-25 14:30:32.123][17][info][http] sent authorization 'Bearer " + secret + "'",
		"[2026-11-25 14:30:32.123][17][critical][assert] proxy-authorization=" + secret,
		"the header was bearer " + secret,
		"sk-ant-" + secret, "value xai-" + secret + ".", "hvs." + secret, "AIza" + secret,
		"eyJhbGciOiJSUzI1NiJ9." + secret + "." + secret,
		"unlabelled " + strings.Repeat(secret, 4),
	} {
		got, ok := new(quieter).line(line)
		if !ok || strings.Contains(got, secret) || !strings.Contains(got, hiddenValue) {
			t.Errorf("%s\nis shown as\n%s", line, got)
		}
	}
}

func TestWhatEnvoySaysOtherwiseIsShownAsItIs(t *testing.T) {
	for _, line := range []string{
		"", "exiting",
		"[2026-11-25 14:30:32.123][17][critical][main] [source/server/server.cc:422] error initializing config: " +
			"error adding listener named 'tokenward_in': cannot bind '127.0.0.1:10000': Address already in use",
		"[2026-11-25 14:30:32.123][17][warning][config] Failed to load private key from /etc/tokenward/tls.key: No such file",
		"[2026-11-25 14:30:32.123][17][warning][main] [source/server/server.cc:1028] caught ENVOY_SIGTERM",
		"#0: Envoy::Http::ConnectionManagerImpl::ActiveStream::decodeHeaders() [0x5581b1c3f2a4]",
		"Envoy version: f1dd21b16c244bda00edfb5ffce577e12d0d2ec2/1.40.0/Clean/RELEASE/BoringSSL",
		"DNS: my-long-azure-openai-resource-eastus2.openai.azure.com not found",
		"the token service tokenward did not answer", "cluster tokenward_attempt: no healthy host",
	} {
		if got, ok := new(quieter).line(line); !ok || got != line {
			t.Errorf("%s\nis shown as\n%s", line, got)
		}
	}
}

func TestMessagesOfDebugLevelsAreDroppedWhole(t *testing.T) {
	q, shown := &quieter{}, []string(nil)
	for _, line := range []string{
		"before any message",
		"[2026-11-25 14:30:32.123][17][debug][http] [Tags: \"ConnectionId\":\"0\"] request headers complete:",
		"':authority', 'llm.example'", "", "'x-own', 'some text'",
		"[2026-11-25 14:30:32.123][17][warning][http] of interest", "and more of it",
		"[2026-11-25 14:30:32.123][17][trace][http] parsed", "':path', '/'",
		"[2026-11-25 14:30:32.123][17][info][main] the end",
	} {
		if s, ok := q.line(line); ok {
			shown = append(shown, s[strings.LastIndex(s, "]")+1:])
		}
	}
	want := []string{"before any message", " of interest", "and more of it", " the end"}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("(-want +shown):\n%s", diff)
	}
}
