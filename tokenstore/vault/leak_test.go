package vault_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

// Whatever stands between us and Vault may quote our requests in what it answers: none of it may come out in an error
// or in the log.
func TestNoErrorHoldsWhatWasSentOrAnswered(t *testing.T) {
	const token, credential = "planted-token", "planted-credential"
	for name, answer := range map[string]func(w http.ResponseWriter, sent string){
		"errors of every status": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{sent}})
		},
		"a refusal": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{sent}})
		},
		"a page":  func(w http.ResponseWriter, sent string) { http.Error(w, "<html>"+sent, http.StatusBadGateway) },
		"no JSON": func(w http.ResponseWriter, sent string) { _, _ = io.WriteString(w, sent) },
		"another record": func(w http.ResponseWriter, sent string) {
			_, _ = fmt.Fprintf(w, `{"data":{"data":%q,"metadata":{"version":1}}}`, sent)
		},
		"no HTTP": func(w http.ResponseWriter, sent string) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, sent+"\r\n\r\n")
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/lookup-self"):
					_, _ = io.WriteString(w, `{"data":{"ttl":3600,"renewable":true}}`)
				case strings.Contains(r.URL.Path, "/internal/ui/mounts/"):
					_, _ = io.WriteString(w, `{"data":{"type":"kv","options":{"version":"2"}}}`)
				default:
					body, _ := io.ReadAll(r.Body)
					answer(w, string(body)+r.Header.Get("X-Vault-Token"))
				}
			}))
			defer between.Close()
			b, log := open(t, usual(between.URL, access.Auth{TokenFile: file(t, "token", token)}))
			_, _, loadErr := b.Load(t.Context(), "a")
			_, swapErr := b.CompareAndSwap(t.Context(), "a", sample(credential), 1)
			_, listErr := b.List(t.Context())
			for _, err := range []error{loadErr, swapErr, listErr, b.Delete(t.Context(), "a", 1)} {
				wantWords(t, err)
				if text := fmt.Sprintf("%v %+v %#v", err, err, err) + log.text(); strings.Contains(text, "planted") {
					t.Errorf("a secret is in %s", text)
				}
			}
		})
	}
}
