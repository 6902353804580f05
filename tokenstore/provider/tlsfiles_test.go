package provider

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tlsfile/tlsfiletest"
	"github.com/tokenward/tokenward/tokenstore"
)

func TestATokenEndpointIsTrustedByTheAuthorityThatTheFileHolds(t *testing.T) {
	type issued struct {
		name  string
		shows tls.Certificate
	}
	var all []issued
	next := func(time.Time, time.Time) (tlsfiletest.Contents, string) {
		a := tlsfiletest.NewAuthority(t)
		c := a.Sign("idp")
		all = append(all, issued{c.Serial, c.TLS()})
		return tlsfiletest.Contents{"ca.crt": a.PEM()}, c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		var shows atomic.Pointer[tls.Certificate]
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, goodAnswer)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would print who does not trust it
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*shows.Load()}}, nil
		}
		s.StartTLS()
		t.Cleanup(s.Close)
		ca := filepath.Join(dir, "ca.crt")
		d := mustDriver(t, Settings{Driver: driverOAuth2, TokenURL: s.URL, CAFile: ca, Files: files})
		first := len(all) - 1 // what is issued from here on is of this change
		return func() (trusted string) {
			for _, i := range all[first:] {
				shows.Store(&i.shows)
				switch _, e := redeem(t, d, fullRecord()); {
				case e == nil:
					trusted += i.name
				case e.Class != tokenstore.RefreshNotSent:
					t.Errorf("the grant was sent to a server of unknown identity: %v", e)
				}
			}
			return trusted
		}
	}, tlsfiletest.Change.Timed)
}
