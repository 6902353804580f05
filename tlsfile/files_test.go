package tlsfile_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/tlsfile"
	"github.com/tokenward/tokenward/tlsfile/tlsfiletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pair(c tlsfiletest.Certificate) tlsfiletest.Contents {
	return tlsfiletest.Contents{"crt": c.Cert, "key": c.Key}
}

func TestAPairIsWhatItsFilesHold(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	next := func(from, to time.Time) (tlsfiletest.Contents, string) {
		c := own.SignFor("x", from, to)
		return pair(c), c.Serial
	}
	tlsfiletest.Run(t, next, func(t *testing.T, dir string, files *tlsfile.Files) func() string {
		v, err := files.Pair("some.tls", filepath.Join(dir, "crt"), filepath.Join(dir, "key"))
		if err != nil {
			t.Fatal(err)
		}
		return func() string { return v.Get().Leaf.SerialNumber.String() }
	})
}

func TestFilesThatCannotBeUsedAtTheStartAreAnErrorThatNamesThemAndTheRemedy(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	one, other := own.Sign("x"), own.Sign("x")
	dir := tlsfiletest.Change{}.Begin(t, tlsfiletest.Contents{
		"crt": one.Cert, "key": one.Key, "other": other.Key, "text": []byte("planted-text"),
		"cut": own.PEM()[:100], "tail": append(own.PEM(), own.PEM()[:100]...),
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, c := range map[string]struct {
		crt, key, ca string
		says         []string
	}{
		"no certificate":    {"none", "key", "", []string{"loading some.tls: ", "none: no such file"}},
		"no key":            {"crt", "none", "", []string{"loading some.tls: ", "none: no such file"}},
		"another's key":     {"crt", "other", "", []string{"loading some.tls: ", "are no pair: private key does not match"}},
		"no PEM":            {"text", "key", "", []string{"loading some.tls: ", "are no pair: failed to find any PEM data"}},
		"no authority":      {"crt", "key", "none", []string{"loading some.tls.client_ca_file: ", "none: no such file"}},
		"no certificate in": {"crt", "key", "key", []string{"loading some.tls.client_ca_file: ", "key holds no certificate"}},
		"one that is cut":   {"crt", "key", "cut", []string{"loading some.tls.client_ca_file: ", "cut holds no certificate"}},
		"two, one is cut":   {"crt", "key", "tail", []string{"loading some.tls.client_ca_file: ", "tail is cut off"}},
	} {
		ca := c.ca
		if ca != "" {
			ca = at(ca)
		}
		_, err := tlsfile.New(zap.NewNop()).Server("some.tls", at(c.crt), at(c.key), ca)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range append(c.says, "give PEM files that this user can read") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q lacks %q", name, err, w)
			}
		}
		if strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: %q shows what is in the file", name, err)
		}
	}
}

func TestACertificateThatHasEndedIsServedWhenThereIsNoOther(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	ended := own.SignFor("x", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	dir := tlsfiletest.Change{}.Begin(t, pair(ended))
	v, err := (*tlsfile.Files)(nil).Pair("some.tls", filepath.Join(dir, "crt"), filepath.Join(dir, "key"))
	if err != nil || v.Get().Leaf.SerialNumber.String() != ended.Serial {
		t.Error(err)
	}
}

func TestFilesAreReadAgainByThemselvesAndTheSameFailureIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := tlsfiletest.NewAuthority(t)
		dir := tlsfiletest.Change{}.Begin(t, tlsfiletest.Contents{"ca": own.PEM()})
		core, logs := observer.New(zap.InfoLevel)
		files := tlsfile.New(zap.New(core))
		v, err := files.Roots("some.ca_file", filepath.Join(dir, "ca"))
		if err != nil {
			t.Fatal(err)
		}
		if err := files.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := v.Get()
		other := tlsfiletest.NewAuthority(t)
		tlsfiletest.Change{}.Mend(t, dir, tlsfiletest.Contents{"ca": other.PEM()})
		time.Sleep(tlsfile.Every) // in synctest's time
		synctest.Wait()
		if v.Get().Equal(first) || !v.Get().Equal(other.Pool()) {
			t.Error("the new authority is not in use")
		}
		if err := os.Remove(filepath.Join(dir, "ca")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * tlsfile.Every)
		synctest.Wait()
		tlsfiletest.Change{}.Mend(t, dir, tlsfiletest.Contents{"ca": other.PEM()}) // as it is in use
		time.Sleep(10 * tlsfile.Every)
		synctest.Wait()
		var told []string
		for _, e := range logs.All() {
			told = append(told, e.ContextMap()["event"].(string))
		}
		if got := strings.Join(told, " "); got != "tls_files_changed tls_files_rejected tls_files_changed" {
			t.Errorf("told: %s", got)
		}
		if !v.Get().Equal(other.Pool()) {
			t.Error("the authority of a deleted file is not in use any more")
		}
		if err := files.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheEndOfTheCertificateInUseIsMeasured(t *testing.T) {
	own, files, reg := tlsfiletest.NewAuthority(t), tlsfile.New(zap.NewNop()), prometheus.NewRegistry()
	reg.MustRegister(files)
	dir := tlsfiletest.Change{}.Begin(t, pair(own.SignFor("x", time.Unix(1, 0), time.Unix(4102444800, 0))))
	if _, err := files.Server("some.tls", filepath.Join(dir, "crt"), filepath.Join(dir, "key"), ""); err != nil {
		t.Fatal(err)
	}
	if got := tlsfiletest.Gauge(t, reg, "tokenward_tls_certificate_expiry_timestamp_seconds"); got != 4102444800 {
		t.Errorf("got %v", got)
	}
}

func TestAServerWithoutAuthorityAsksForNoCertificate(t *testing.T) {
	own := tlsfiletest.NewAuthority(t)
	dir := tlsfiletest.Change{}.Begin(t, pair(own.Sign("x")))
	s, err := (*tlsfile.Files)(nil).Server("some.tls", filepath.Join(dir, "crt"), filepath.Join(dir, "key"), "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Config(nil).GetConfigForClient(nil)
	if err != nil || c.ClientAuth != tls.NoClientCert || c.ClientCAs != nil {
		t.Errorf("%v, authorities %v: %v", c.ClientAuth, c.ClientCAs, err)
	}
}
