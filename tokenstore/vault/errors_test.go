package vault_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore/vault/access"
)

func TestAnAddressThatIsNotVaultsIsSaidWithItsRemedy(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.StartTLS()
	defer secured.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = raw.Close() }()
	go func() {
		for {
			c, err := raw.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 mail.example ESMTP\r\n"))
			_ = c.Close()
		}
	}()
	for name, c := range map[string]struct {
		address string
		wants   []string
	}{
		"https to http":   {strings.Replace(plain.URL, "http:", "https:", 1), []string{"does not speak https", "check scheme and port of store.vault.address"}},
		"http to https":   {strings.Replace(secured.URL, "https:", "http:", 1), []string{"wants https", "check scheme and port of store.vault.address"}},
		"nobody":          {closed.URL, []string{"connection refused", "check store.vault.address and that Vault runs"}},
		"https to a mail": {"https://" + raw.Addr().String(), []string{"does not speak https", "check scheme and port"}},
		"http to a mail":  {"http://" + raw.Addr().String(), []string{"check store.vault.address"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := open(t, usual(c.address, access.Auth{TokenFile: file(t, "token", "planted-token")}))
			_, err := b.List(t.Context())
			wantWords(t, err, append([]string{"looking up the token of auth.token_file"}, c.wants...)...)
		})
	}
}
