package vault_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/vault"
	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// said is an answer of something that stands where Vault should.
type said struct {
	status int
	body   string
}

// FuzzAnswers: whatever answers in Vault's place, no call ends in a panic, no id is listed that is none, no record is
// read without a version, and no error shows our token.
func FuzzAnswers(f *testing.F) {
	const token = "planted-token-of-ours"
	// Not among them: 403, after which a login is due a second later, and 412 and 5xx, which are asked again after a
	// pause.
	statuses := []int{200, 204, 400, 404, 405, 302}
	for _, body := range []string{
		`{"data":{"keys":["a","b/","../c",".d","","\u001b[31m"]}}`, `{"data":{"keys":null}}`, `{"data":{"keys":[1]}}`,
		`{"data":{"current_version":3,"versions":{"3":{"created_time":"2026-01-01T00:00:00Z","deletion_time":"","destroyed":false}}}}`,
		`{"data":{"data":{"provider":"p","type":"oauth_refresh"},"metadata":{"version":3,"deletion_time":"9999-12-31T00:00:00Z"}}}`,
		`{"data":{"data":null,"metadata":{"version":18446744073709551615}}}`, `{"data":{"data":{"tokenward_deleted":"true"},"metadata":{"version":-1}}}`,
		`{"data":{"version":4}}`, `{"data":{"version":1e400}}`, `{"data":{"capabilities":["root"]}}`,
		`{"errors":["` + token + `"]}`, `{"errors":["check-and-set parameter did not match the current version"]}`, `{"errors":[]}`,
		`{"auth":{"client_token":"x"}}`, `{"data":`, ``, `null`, `[]`, "<html>", "\xff",
	} {
		for i := range statuses {
			f.Add(uint8(i), body)
		}
	}
	var answer atomic.Pointer[said]
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch a := answer.Load(); {
		case strings.HasPrefix(r.URL.Path, "/v1/auth/token/"):
			_, _ = io.WriteString(w, `{"data":{"ttl":0,"expire_time":null}}`)
		case strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/"):
			_, _ = io.WriteString(w, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
		default:
			w.WriteHeader(a.status)
			_, _ = io.WriteString(w, a.body)
		}
	}))
	f.Cleanup(fake.Close)
	cfg := usual(fake.URL, access.Auth{})
	cfg.Token = tokenstore.NewSecret(token)
	b, err := vault.Open(f.Context(), cfg, zap.NewNop())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = b.Close() })
	f.Fuzz(func(t *testing.T, status uint8, body string) {
		answer.Store(&said{statuses[int(status)%len(statuses)], body})
		ctx := t.Context()
		heads, listErr := b.List(ctx)
		for _, h := range heads {
			if err := h.ID.Validate(); err != nil {
				t.Errorf("listed: %v", err)
			}
		}
		_, v, loadErr := b.Load(ctx, "a")
		if loadErr == nil && v == 0 {
			t.Error("a record without a version was read")
		}
		_, saveErr := b.CompareAndSwap(ctx, "a", sample("rt"), 3)
		for _, err := range []error{listErr, loadErr, saveErr, b.Delete(ctx, "a", 3)} {
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("our token is in the error: %v", err)
			}
		}
	})
}
