package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// Its key is known: whoever has the fingerprint of a client secret that somebody chose can try words against it.
func TestNoFingerprintOfAClientSecretIsShown(t *testing.T) {
	s := newShell(t)
	secret := tokenstore.NewSecret(planted + "hunter2")
	r := living()
	r.Kind, r.RefreshToken, r.ClientSecret = tokenstore.KindClientCredentials, tokenstore.Secret{}, secret
	r.Rotation.Last = &tokenstore.Outcome{At: time.Now(), Result: "succeeded", Fingerprint: tokenstore.Fingerprint("a", secret)}
	s.put(t, "a", r)
	for _, args := range [][]string{{"accounts", "show", "a"}, {"accounts", "list"}} {
		for _, format := range []string{"json", "text"} {
			shown := s.good(t, append(args, "-o", format)...)
			if strings.Contains(shown, r.Rotation.Last.Fingerprint) || !strings.Contains(shown, "a") {
				t.Errorf("%v -o %s shows %s", args, format, shown)
			}
		}
	}
}
