package tokenstore_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestAnUnknownKeyThatLooksLikeAKnownOneIsRemarkedAndNoError(t *testing.T) {
	for key, want := range map[string]string{
		"refreshToken": "refresh_token", "accessToken": "access_token", "clientId": "client_id", "client-secret": "client_secret",
		"API_KEY": "api_key", "pool": "pools", "label": "labels", "limit": "limits", "Tenant": "tenant", "tenent": "tenant",
		"expiresAt": "expires_at", "refresh_tokn": "refresh_token", "scopes": "scope", "rpm": "limits.rpm", "kind": "type",
		"concurrency": "limits.concurrency", "private_key": "", "quota": "", "note": "", "owner": "", "x": "",
	} {
		t.Run(key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.memory.Patch("a", map[string]json.RawMessage{key: json.RawMessage(`"sk-hidden"`)})
				time.Sleep(time.Second)
				st, told := w.status("a"), ""
				if want != "" {
					told = "key " + key + " is not read: did you mean " + want + "?"
				}
				if st.State != tokenstore.StateActive || st.Reason != told {
					t.Errorf("it is %s: %q; want %q", st.State, st.Reason, told)
				}
			})
		})
	}
}

func TestAMissingKeyNamesTheOneThatStandsThereInstead(t *testing.T) {
	for doc, want := range map[string]string{
		`{"provder":"p","type":"k"}`:                       "must name a provider of the configuration; key provder is not read: did you mean provider?",
		`{"provider":"p","kind":"k"}`:                      "must be given, e.g. oauth_refresh; key kind is not read: did you mean type?",
		`{"provider":"p","unlike":"k","refreshToken":"k"}`: "must be given, e.g. oauth_refresh",
	} {
		_, err := tokenstore.DecodeRecord([]byte(doc))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v; want %q", doc, err, want)
		}
	}
}
