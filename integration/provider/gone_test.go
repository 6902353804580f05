package provider

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestAGrantIsNotProcessedForAClientThatHasGone runs inside the package because only the handler's end tells that the
// provider has noticed.
func TestAGrantIsNotProcessedForAClientThatHasGone(t *testing.T) {
	const path = "POST /v1/oauth/token HTTP/1.1\r\nHost: sim\r\nContent-Type: "
	body := func(token string) string {
		return fmt.Sprintf(`{"grant_type":"refresh_token","client_id":%q,"refresh_token":%q}`, ClientID, token)
	}
	for name, request := range map[string]func(token string) (first, rest string){
		"JSON of known length": func(token string) (string, string) {
			return fmt.Sprintf("%sapplication/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body(token)), body(token)), ""
		},
		"JSON in chunks, the last one late": func(token string) (string, string) {
			return fmt.Sprintf("%sapplication/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", path, len(body(token)), body(token)), "0\r\n\r\n"
		},
		"a form": func(token string) (string, string) {
			form := "grant_type=refresh_token&client_id=" + ClientID + "&refresh_token=" + token
			return fmt.Sprintf("%sapplication/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", path, len(form), form), ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Provider{ledger: newLedger()}
			token := p.Create("a", time.Hour).RefreshToken
			p.Script("a", Script{Before: time.Hour})
			began, ended := make(chan struct{}), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				close(began)
				p.token(w, r)
			}))
			defer server.CloseClientConnections()

			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			first, rest := request(token)
			write(t, c, first)
			<-began
			write(t, c, rest)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("the provider still thinks about the grant of a client that has gone")
			}
			if a := p.Account("a"); a.Redemptions != 0 {
				t.Errorf("redemptions: got %d, want 0", a.Redemptions)
			}
			if n := p.TokenCalls(); n != 1 {
				t.Errorf("token endpoint calls: got %d, want 1", n)
			}
		})
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}
