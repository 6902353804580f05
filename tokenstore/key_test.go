package tokenstore_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// keys is a driver of accounts with nothing but a key.
type keys struct{ *tokenstoretest.Driver }

func (keys) Check(tokenstore.Record) error               { return nil }
func (keys) Refreshable(tokenstore.Record) bool          { return false }
func (keys) Token(r tokenstore.Record) tokenstore.Secret { return r.APIKey }
func (keys) Headers(r tokenstore.Record) []tokenstore.Header {
	return []tokenstore.Header{{Name: "x-api-key", Value: r.APIKey.Reveal()}}
}

func TestASlipInPlaceOfAKeyIsReportedAndTheFormerKeyServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		record := tokenstore.Record{Provider: "p", Kind: tokenstore.KindAPIKey, APIKey: tokenstore.NewSecret("good")}
		put(t, m, given{"a", record})
		w := open(t, m, m, d, func(c *tokenstore.Config) { c.Drivers = map[string]tokenstore.Driver{"p": keys{d}} })
		set := func(key string) tokenstore.AccountStatus {
			edit(t, m, "a", func(r *tokenstore.Record) { r.APIKey = tokenstore.NewSecret(key) })
			time.Sleep(time.Second)
			return w.status("a")
		}
		for _, slip := range []string{`"good"`, `{"key":"good"}`, "Bearer good", "go od"} {
			if st := set(slip); st.State != tokenstore.StateConfigError || !st.Routable ||
				!strings.Contains(st.Reason, "api_key") {
				t.Errorf("%s: %s, routable %t: %s", slip, st.State, st.Routable, st.Reason)
			}
			if p := w.pick("r", nil); p.Headers[0].Value != "good" {
				t.Errorf("%s: %q serves", slip, p.Headers[0].Value)
			}
		}
		if st := set("better"); st.State != tokenstore.StateActive {
			t.Errorf("%s: %s", st.State, st.Reason)
		}
		if p := w.pick("r", nil); p.Headers[0].Value != "better" {
			t.Errorf("%q serves", p.Headers[0].Value)
		}
		set(`"bad"`)
		w.stop()
		w = open(t, m, m, d, func(c *tokenstore.Config) { c.Drivers = map[string]tokenstore.Driver{"p": keys{d}} })
		if st := w.status("a"); st.State != tokenstore.StateConfigError || st.Routable { // nobody knows the former one
			t.Errorf("after a restart: %s, routable %t", st.State, st.Routable)
		}
	})
}

func TestAnAccountThatIsGivenAKeyOutlivesItsFormerTokenAndItsDeath(t *testing.T) {
	kinds := map[string]func(r *tokenstore.Record){
		"living": func(*tokenstore.Record) {},
		"dead": func(r *tokenstore.Record) {
			known := tokenstore.Fingerprint("a", r.Credential())
			r.Rotation.Dead = &tokenstore.Dead{Fingerprint: known, At: time.Now(), Error: "invalid_grant"}
		},
		"ambiguous": func(r *tokenstore.Record) {
			known := tokenstore.Fingerprint("a", r.Credential())
			r.Rotation.Claim = &tokenstore.Claim{
				AttemptID: "x", Holder: "h", StartedAt: time.Now(), Fingerprint: known, Ambiguous: true,
			}
		},
	}
	for name, was := range kinds {
		for how, write := range map[string]func(old, next tokenstore.Record) tokenstore.Record{
			"by command": func(old, next tokenstore.Record) tokenstore.Record {
				return tokenstore.Replace("a", old, next, time.Now())
			},
			"by kv patch": func(_, next tokenstore.Record) tokenstore.Record { return next },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
					put(t, m, Account("a", was))
					w := open(t, m, m, d, func(c *tokenstore.Config) { c.Drivers = map[string]tokenstore.Driver{"p": keys{d}} })
					edit(t, m, "a", func(r *tokenstore.Record) {
						next := r.Clone()
						next.Kind, next.APIKey = tokenstore.KindAPIKey, tokenstore.NewSecret("sk")
						*r = write(*r, next)
					})
					for _, wait := range []time.Duration{time.Second, 3 * time.Hour} {
						time.Sleep(wait)
						st := w.status("a")
						if st.State != tokenstore.StateActive || !st.Routable || st.Reason != "" || !st.ExpiresAt.IsZero() {
							t.Errorf("%s, routable %t, until %s: %q", st.State, st.Routable, st.ExpiresAt, st.Reason)
						}
					}
					if p := w.pick("r", nil); p.Headers[0].Value != "sk" {
						t.Errorf("%q serves", p.Headers[0].Value)
					}
					if r := w.stored("a"); r.RefreshToken.IsZero() {
						t.Error("the former type's refresh token is gone")
					}
				})
			})
		}
	}
}
