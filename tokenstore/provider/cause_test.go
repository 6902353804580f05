package provider

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestWhyThereIsNoAnswerIsSaidInPlainWords(t *testing.T) {
	nothing := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) })
	secure := httptest.NewUnstartedServer(nothing)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it would print our refusal of its certificate
	secure.StartTLS()
	defer secure.Close()
	open := httptest.NewServer(nothing)
	defer open.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	_ = free.Close()
	cut, _ := cutter(t, "")
	for name, c := range map[string]struct {
		at    string
		class tokenstore.RefreshClass
		words string
	}{
		"unknown certificate authority": {secure.URL, tokenstore.RefreshNotSent, "the server's certificate is not trusted"},
		"no TLS":                        {strings.Replace(open.URL, "http:", "https:", 1), tokenstore.RefreshNotSent, "does not speak TLS"},
		"nobody listens":                {"https://" + closed, tokenstore.RefreshNotSent, "the connection was refused"},
		"hung up":                       {cut, tokenstore.RefreshUnknown, "the server closed the connection before its answer was complete"},
	} {
		_, e := redeem(t, mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: c.at}), fullRecord())
		if e == nil || e.Class != c.class || !strings.Contains(e.Message, c.words) {
			t.Errorf("%s: got %+v, want %s: %s", name, e, c.class, c.words)
		}
	}
	unnamed := transportWords(&url.Error{Err: &net.OpError{Op: "dial", Err: &net.DNSError{Name: "idp.example", IsNotFound: true}}})
	if unnamed != "the name idp.example cannot be resolved" {
		t.Errorf("no such name: %s", unnamed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: open.URL}).Refresh(ctx, fullRecord())
	var e *tokenstore.RefreshError
	if !errors.As(err, &e) || e.Class != tokenstore.RefreshNotSent || !strings.Contains(e.Message, "the service is stopping") {
		t.Errorf("stopping: got %v", err)
	}
}
