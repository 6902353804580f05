package admin

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tlsfile/tlsfiletest"
)

func TestTheServerShowsTheCertificateThatItsFilesHold(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	next := func(from, to time.Time) (tlsfiletest.Contents, string) {
		c := own.SignFor("gateway.example", from, to)
		return contents(c), c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		s := started(t, server(t, &fakeTokens{}, func(c *Config) {
			c.CertFile, c.KeyFile, c.Files = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), files
		}))
		return func() string { return shown(t, s, &tls.Config{RootCAs: own.Pool()}) }
	})
}

func contents(c tlsfiletest.Certificate) tlsfiletest.Contents {
	return tlsfiletest.Contents{"tls.crt": c.Cert, "tls.key": c.Key}
}

// shown is the serial number of the server's certificate, after an answer has come.
func shown(t *testing.T, s *Server, c *tls.Config) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(mustRequest(t, "https://"+s.Addr()+"/healthz"))
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	return resp.TLS.PeerCertificates[0].SerialNumber.String()
}

func TestTheServerLetsInWhomItsAuthorityFileSaysNow(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	held := own.Sign("gateway.example")
	clients := map[string]tls.Certificate{}
	next := func(time.Time, time.Time) (tlsfiletest.Contents, string) {
		a := tlsfiletest.NewAuthority(t)
		c := a.Sign("operator")
		clients[c.Serial] = c.TLS()
		return tlsfiletest.Contents{"ca.crt": a.PEM()}, c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		pair := tlsfiletest.Change{}.Begin(t, contents(held))
		s := started(t, server(t, &fakeTokens{}, func(c *Config) {
			c.CertFile, c.KeyFile, c.Files = filepath.Join(pair, "tls.crt"), filepath.Join(pair, "tls.key"), files
			c.ClientCAFile = filepath.Join(dir, "ca.crt")
		}))
		sessions := map[string]tls.ClientSessionCache{} // resumed sessions must not outlive their authority
		return func() (in string) {
			for serial, c := range clients {
				if sessions[serial] == nil {
					sessions[serial] = tls.NewLRUClientSessionCache(4)
				}
				for range 2 {
					cfg := &tls.Config{RootCAs: own.Pool(), Certificates: []tls.Certificate{c}, ClientSessionCache: sessions[serial]}
					if shown(t, s, cfg) == held.Serial {
						in += serial
						break
					}
				}
			}
			return in
		}
	}, tlsfiletest.Change.Timed)
}

func TestANewNameInTheCertificateIsOursAtOnce(t *testing.T) {
	own, files := tlsfiletest.NewAuthority(t), tlsfile.New(zap.NewNop())
	dir := tlsfiletest.Change{}.Begin(t, contents(own.Sign("old.example")))
	s := server(t, &fakeTokens{}, func(c *Config) {
		c.CertFile, c.KeyFile, c.Files = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), files
	})
	wantProblem(t, send(s, "GET", "/healthz", "", host("new.example")), http.StatusMisdirectedRequest, "wrong-host")
	tlsfiletest.Change{}.Mend(t, dir, contents(own.Sign("new.example")))
	files.Look()
	if a := send(s, "GET", "/healthz", "", host("new.example")); a.status != 200 {
		t.Errorf("the new name: %d", a.status)
	}
	wantProblem(t, send(s, "GET", "/healthz", "", host("old.example")), http.StatusMisdirectedRequest, "wrong-host")
}
