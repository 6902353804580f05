package tokenstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// wrongValues are the wrong values that each key of a record is tried with.
var wrongValues = map[string][]string{
	"provider": {`4711`, `{}`, `["p"]`, `true`, `null`, `""`},
	"type":     {`4711`, `{}`, `["k"]`, `true`, `null`, `""`},
	"pools":    {`4711`, `{"a":1}`, `[4711]`, `["p",true]`, `true`},
	"tenant":   {`4711`, `{}`, `["acme"]`, `true`},
	"labels": {
		`4711`,
		`"team-red"`,
		`["team"]`,
		`true`,
		`{"n":4711}`,
		`"{\"n\":4711}"`,
		`"{\"n\"=1"`,
		`"team=red,gold"`,
		`"=red"`,
		`"\"team=red\""`,
	},
	"limits": {
		`4711`,
		`"many"`,
		`[60]`,
		`true`,
		`{"rpm":"60"}`,
		`"{\"rpm\":-1}"`,
		`"rpm=60"`,
		`{"concurrency":1.5}`,
	},
	"state":         {`4711`, `"pausd"`, `{}`, `["active"]`, `true`, `"Active"`},
	"client_id":     {`47.11`, `-1`, `{}`, `["id"]`, `true`},
	"client_secret": {`4711`, `{}`, `["cs"]`, `true`},
	"api_key":       {`4711`, `{}`, `["ak"]`, `true`},
	"refresh_token": {`4711`, `{}`, `["rt"]`, `true`},
	"scope":         {`4711`, `{}`, `["a","b"]`, `true`},
	"access_token":  {`4711`, `{}`, `["at"]`, `true`},
	"token_type":    {`4711`, `{}`, `["Bearer"]`, `true`},
	"expires_at":    {`4711`, `"tomorrow"`, `{}`, `["2030-01-01T00:00:00Z"]`, `true`, `"9999-12-31T23:59:59-01:00"`},
	"obtained_at":   {`4711`, `"yesterday"`, `{}`, `[]`, `true`},
	"rotation": {
		`4711`,
		`"x"`,
		`[]`,
		`true`,
		`{"spent":"x"}`,
		`{"generation":-1}`,
		`{"claim":"x"}`,
		`{"claim":{"holder":"h"}}`,
		`{"last":[]}`,
		`{"incarnation":1}`,
		`"{\"spent\":4711}"`,
		`{"format":"1"}`,
	},
}

// unusable are the keys without whose right value nobody can use a record.
var unusable = map[string]bool{"provider": true, "type": true, "client_secret": true, "refresh_token": true}

// documentOf is a record as it is stored.
func documentOf(t *testing.T, r tokenstore.Record) (doc map[string]json.RawMessage) {
	t.Helper()
	data, err := tokenstore.EncodeRecord(r)
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// slips runs f as a subtest for each wrong value of each key.
func slips(t *testing.T, f func(t *testing.T, key, raw string)) {
	t.Helper()
	for key, raws := range wrongValues {
		for _, raw := range raws {
			t.Run(key+"="+raw, func(t *testing.T) { f(t, key, raw) })
		}
	}
}

func TestASlipIsWrittenBackAsItWasAndNothingElseIsLost(t *testing.T) {
	slips(t, func(t *testing.T, key, raw string) {
		doc := documentOf(t, good().record)
		doc[key] = json.RawMessage(raw)
		data, _ := json.Marshal(doc)
		r, err := tokenstore.DecodeRecord(data)
		if unusable[key] != errors.Is(err, tokenstore.ErrUnreadable) || !r.Slipped(key) || len(r.Slips) != 1 {
			t.Fatalf("slips %v, error %v", r.Slips, err)
		}
		again, err := tokenstore.EncodeRecord(r.Clone())
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("a rewrite changed it (%v):\n%s\n%s", err, data, again)
		}
	})
}

func TestAKeyThatIsMendedIsNotWrittenBackAsItWas(t *testing.T) {
	const slips = `{"provider":"p","type":"k","state":"pausd","labels":"team-red","limits":{"rpm":"x","concurrency":2}}`
	r, _ := tokenstore.DecodeRecord([]byte(slips))
	r.State, r.Labels, r.Limits.RPM = tokenstore.Active, map[string]string{"team": "red"}, 5
	data, err := tokenstore.EncodeRecord(r)
	want := `{"labels":{"team":"red"},"limits":{"concurrency":2,"rpm":5},"provider":"p","state":"active","type":"k"}`
	if err != nil || string(data) != want {
		t.Errorf("%v: stored %s, want %s", err, data, want)
	}
}

func TestASlipInTheServicesOwnKeyOfTheFormerCredentialGoesWithTheNextWrite(t *testing.T) {
	for _, raw := range []string{`"x"`, `5`, `{"refresh_token":5}`} {
		r, _ := tokenstore.DecodeRecord([]byte(`{"provider":"p","type":"k","former":` + raw + `}`))
		data, err := tokenstore.EncodeRecord(r)
		if again, _ := tokenstore.DecodeRecord(data); err != nil || len(r.Slips) != 1 || len(again.Slips) != 0 {
			t.Errorf("%s, %v: slips %v, stored %s", raw, err, r.Slips, data)
		}
	}
}

// good is an account with a right value in every key that can have one.
func good() given {
	return Account("a", func(r *tokenstore.Record) {
		r.Pools, r.Tenant, r.Labels, r.Limits = []string{"p"}, "acme", map[string]string{
			"team": "blue",
		}, tokenstore.Limits{
			RPM: 600,
		}
		r.ClientID, r.Scope, r.TokenType, r.State = "id", "s", "Bearer", tokenstore.Active
		r.Rotation = tokenstore.Rotation{Incarnation: "i", Generation: 3, Format: 1}
	})
}

// unharmedButFor compares a document with what it was, the slip's key and the service's own ones left out.
func unharmedButFor(t *testing.T, key, raw string, was, is map[string]json.RawMessage) {
	t.Helper()
	own := map[string]bool{
		"access_token":  true,
		"expires_at":    true,
		"obtained_at":   true,
		"token_type":    true,
		"rotation":      true,
		"refresh_token": true,
	}
	want := maps.Clone(was)
	want[key] = json.RawMessage(raw)
	for k, v := range want {
		if removed := string(v) == "null" && is[k] == nil; !own[k] && !removed && !bytes.Equal(v, is[k]) {
			t.Errorf("%s is %s, was written as %s", k, is[k], v)
		}
	}
}

func TestACommitGoesThroughWhateverKeyIsWrong(t *testing.T) {
	slips(t, func(t *testing.T, key, raw string) {
		if key == "refresh_token" {
			return // it has a test of its own
		}
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, good())
			was := w.memory.Document("a")
			w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
				w.memory.Patch("a", map[string]json.RawMessage{key: json.RawMessage(raw)})
				return nil
			}
			w.force("a", tokenstore.Refreshed)
			is := w.memory.Document("a")
			if string(is["refresh_token"]) != `"rt-1"` || string(is["access_token"]) != `"at-1"` {
				t.Fatalf("the rotation is not saved: %s", is["refresh_token"])
			}
			unharmedButFor(t, key, raw, was, is)
			if n := w.metric("unsaved_rotations"); n != 0 {
				t.Errorf("%v unsaved", n)
			}
			w.stop() // at once
		})
	})
}

func TestAnAccountServesOnAndIsRefreshedWithItsLastGoodValues(t *testing.T) {
	slips(t, func(t *testing.T, key, raw string) {
		if unusable[key] {
			return // nobody can
		}
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, good())
			was := w.memory.Document("a")
			before := w.status("a")
			w.memory.Patch("a", map[string]json.RawMessage{key: json.RawMessage(raw)})
			time.Sleep(time.Second)
			st := w.status("a")
			if st.State != tokenstore.StateActive || !strings.Contains(st.Reason, "config_error in key "+key) ||
				!strings.Contains(st.Reason, "last good") && key != "api_key" { // which it does not have
				t.Fatalf("it is %s: %q", st.State, st.Reason)
			}
			if st.Tenant != "acme" || st.Limits.RPM != 600 || st.Labels["team"] != "blue" || st.Pools[0] != "p" ||
				!st.ExpiresAt.Equal(before.ExpiresAt) {
				t.Errorf("in force is %+v", st)
			}
			if p, err := w.Pick(context.Background(), tokenstore.PickRequest{Route: "r", Tenant: "acme"}); err != nil ||
				p.Account != "a" {
				t.Errorf("picked %s: %v", p.Account, err)
			}
			w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
			time.Sleep(time.Minute) // longer than a lease: what looks like a claim is waited for
			w.force("a", tokenstore.Refreshed)
			is := w.memory.Document("a")
			if string(is["refresh_token"]) != `"rt-1"` {
				t.Errorf("refresh token %s", is["refresh_token"])
			}
			unharmedButFor(t, key, raw, was, is)
		})
	})
}

func TestASlipThatWasThereBeforeTheServiceIsMetByTheLeastHarmfulDefault(t *testing.T) {
	for key, want := range map[string]tokenstore.AccountState{
		"pools": tokenstore.StateConfigError, "tenant": tokenstore.StateConfigError, "client_id": tokenstore.StateConfigError,
		"state": tokenstore.StatePaused, "labels": tokenstore.StateActive, "limits": tokenstore.StateActive, "scope": tokenstore.StateActive,
		"token_type": tokenstore.StateActive, "expires_at": tokenstore.StateActive, "obtained_at": tokenstore.StateActive,
		"rotation": tokenstore.StateActive, "provider": tokenstore.StateConfigError, "type": tokenstore.StateConfigError,
		"refresh_token": tokenstore.StateConfigError, "client_secret": tokenstore.StateConfigError, "api_key": tokenstore.StateActive,
	} {
		t.Run(key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
				put(t, m, Account("a"))
				m.Patch("a", map[string]json.RawMessage{key: json.RawMessage(wrongValues[key][0])})
				w := open(t, m, m, d)
				st := w.status("a")
				if st.State != want || !strings.Contains(st.Reason, "key "+key+": ") {
					t.Errorf("it is %s: %q; want %s", st.State, st.Reason, want)
				}
				if want != tokenstore.StateActive {
					w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
				}
				m.Patch("a", map[string]json.RawMessage{key: w.mended(key)})
				time.Sleep(time.Second)
				if st := w.status("a"); st.State != tokenstore.StateActive || st.Reason != "" {
					t.Errorf("mended it is %s: %q", st.State, st.Reason)
				}
			})
		})
	}
}

// mended is the right value of a key.
func (w *world) mended(key string) json.RawMessage {
	data, _ := tokenstore.EncodeRecord(Account("a").record)
	var doc map[string]json.RawMessage
	_ = json.Unmarshal(data, &doc)
	if doc[key] == nil {
		return json.RawMessage("null")
	}
	return doc[key]
}

func TestARecordMadeAnewDoesNotServeAsItsPredecessorDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, good())
		w.memory.Patch("a", map[string]json.RawMessage{
			"refresh_token": json.RawMessage(`"new"`),
			"access_token":  json.RawMessage("null"),
			"rotation":      json.RawMessage("null"),
			"tenant":        json.RawMessage(`["other"]`),
		})
		time.Sleep(time.Second)
		if st := w.status("a"); st.State != tokenstore.StateConfigError || st.Routable {
			t.Errorf("it is %s: %q", st.State, st.Reason)
		}
	})
}

func TestARotationWaitsWhileTheCredentialItselfCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, good())
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			w.memory.Patch("a", map[string]json.RawMessage{"refresh_token": json.RawMessage(`{"value":"x"}`)})
			return nil
		}
		w.force("a", tokenstore.Refreshed)
		time.Sleep(time.Minute)
		if n := w.metric("unsaved_rotations"); n != 1 {
			t.Fatalf("%v unsaved: the operator's new credential is overwritten", n)
		}
		w.memory.Patch("a", map[string]json.RawMessage{"refresh_token": json.RawMessage(`"rt-of-a"`)}) // rolled back
		time.Sleep(10 * time.Second)
		if rt := string(w.memory.Document("a")["refresh_token"]); rt != `"rt-1"` {
			t.Errorf("stored is %s", rt)
		}
	})
}

func TestAJournalledRotationIsSavedOntoARecordWithSlips(t *testing.T) {
	for key, raw := range map[string]string{"labels": `"team-red"`, "limits": `"many"`, "tenant": `{}`, "provider": `4711`, "rotation": `"x"`} {
		t.Run(key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d, j := tokenstoretest.NewMemory(), tokenstoretest.NewDriver(), &tokenstoretest.Journal{}
				g := good()
				put(t, m, g)
				was := m.Document("a")
				spent := tokenstore.Fingerprint("a", g.record.RefreshToken)
				rotated := g.record.Clone()
				rotated.RefreshToken, rotated.AccessToken = tokenstore.NewSecret("rt-1"), tokenstore.NewSecret("at-1")
				rotated.Rotation.Generation, rotated.Rotation.Spent = 4, []string{spent}
				_ = j.Append(tokenstore.JournalEntry{Attempt: "x", Account: "a", Spent: spent, At: time.Now(), Record: rotated})
				m.Patch("a", map[string]json.RawMessage{key: json.RawMessage(raw)})
				open(t, m, m, d, func(c *tokenstore.Config) { c.Journal = j })
				time.Sleep(time.Second)
				is := m.Document("a")
				left, _ := j.Entries()
				if string(is["refresh_token"]) != `"rt-1"` || len(left) != 0 {
					t.Errorf("stored is %s, %d entries are left", is["refresh_token"], len(left))
				}
				unharmedButFor(t, key, raw, was, is)
			})
		})
	}
}

// away is a process's way to a backend that says for a while that the record is deleted.
type away struct {
	tokenstore.Backend
	on *atomic.Bool
}

func (b away) Load(ctx context.Context, id tokenstore.AccountID) (tokenstore.Record, tokenstore.Version, error) {
	r, v, err := b.Backend.Load(ctx, id)
	if err == nil && b.on.Load() {
		return tokenstore.Record{}, v, tokenstore.ErrDeleted
	}
	return r, v, err
}

// While nobody can save, no claim grows old: its holder has the successor, and saves it as soon as it can. Counted
// through, the lease of a claim was over when the record came back, and a peer presented the spent token within the
// holder's pause.
func TestAClaimGetsItsWholeLeaseWhenTheRecordIsBack(t *testing.T) {
	for name, vanish := range map[string]struct {
		on, off func(m *tokenstoretest.Memory, deleted *atomic.Bool)
	}{
		"a wrong label, then mended": { // which no commit waits for any more
			func(m *tokenstoretest.Memory, _ *atomic.Bool) {
				m.Patch("a", map[string]json.RawMessage{"labels": json.RawMessage(`"team-red"`)})
			},
			func(m *tokenstoretest.Memory, _ *atomic.Bool) {
				m.Patch("a", map[string]json.RawMessage{"labels": json.RawMessage(`{"team":"red"}`)})
			},
		},
		"unreadable, then mended": {
			func(m *tokenstoretest.Memory, _ *atomic.Bool) {
				m.Patch("a", map[string]json.RawMessage{"refresh_token": json.RawMessage(`4711`)})
			},
			func(m *tokenstoretest.Memory, _ *atomic.Bool) {
				m.Patch("a", map[string]json.RawMessage{"refresh_token": json.RawMessage(`"rt-of-a"`)})
			},
		},
		"deleted, then undeleted": {
			func(m *tokenstoretest.Memory, deleted *atomic.Bool) {
				deleted.Store(true)
				m.Patch("a", map[string]json.RawMessage{"labels": json.RawMessage(`{"a":"b"}`)})
			},
			func(m *tokenstoretest.Memory, deleted *atomic.Bool) {
				deleted.Store(false)
				m.Patch("a", map[string]json.RawMessage{"labels": json.RawMessage(`{"a":"c"}`)})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
				put(t, m, Account("a", expired))
				var deleted atomic.Bool
				way := away{m, &deleted}
				holder, peer := open(t, way, m, d), open(t, way, m, d)
				d.OnRefresh = func(context.Context, tokenstore.Record) error {
					time.Sleep(5 * time.Second) // the peer sees the claim
					go func() { _, _ = peer.RefreshAccount(context.Background(), "a", true) }()
					time.Sleep(time.Second)
					vanish.on(m, &deleted)
					return nil
				}
				if r, err := holder.RefreshAccount(context.Background(), "a", true); err != nil ||
					r.Outcome != tokenstore.Refreshed {
					t.Fatalf("%+v, %v", r, err)
				}
				d.OnRefresh = nil
				time.Sleep(time.Minute) // longer than the lease; the holder looks every 5 s
				vanish.off(m, &deleted)
				time.Sleep(time.Millisecond)
				_, _ = peer.RefreshAccount(context.Background(), "a", true)
				time.Sleep(10 * time.Second)
				if d.MostSpent() != 1 {
					t.Error("a refresh token was presented again although its holder had the successor")
				}
			})
		})
	}
}

func TestLabelsAreTakenAsAnObjectOrAsPairs(t *testing.T) {
	for raw, want := range map[string]map[string]string{
		`"team=red,tier=gold"`:             {"team": "red", "tier": "gold"},
		`" team = red , tier=gold,"`:       {"team": "red", "tier": "gold"},
		`"team=a=b"`:                       {"team": "a=b"},
		`"team="`:                          {"team": ""},
		`{"team":"red","none":null}`:       {"team": "red"},
		`"{\"team\":\"red\",\"t\":\"g\"}"`: {"team": "red", "t": "g"},
	} {
		r, err := tokenstore.DecodeRecord([]byte(`{"provider":"p","type":"k","labels":` + raw + `}`))
		if err != nil || len(r.Slips) > 0 || !maps.Equal(r.Labels, want) {
			t.Errorf("%s: %v %v %v", raw, r.Labels, r.Slips, err)
		}
	}
}

func TestACredentialThatItsKindDoesNotUseBreaksNothing(t *testing.T) {
	for kind, breaking := range map[tokenstore.Kind]string{
		tokenstore.KindAPIKey: "api_key", tokenstore.KindClientCredentials: "client_secret", tokenstore.KindOAuthRefresh: "client_secret refresh_token",
		tokenstore.KindClaudeCode: "client_secret refresh_token",
	} {
		for _, key := range []string{"api_key", "client_secret", "refresh_token"} {
			r, err := tokenstore.DecodeRecord([]byte(`{"provider":"p","type":"` + string(kind) + `","` + key + `":4711}`))
			if (err != nil) != strings.Contains(breaking, key) || !r.Slipped(key) {
				t.Errorf("%s with a wrong %s: %v", kind, key, err)
			}
		}
	}
}

func TestAClientIDThatIsAWholeNumberIsItsDigits(t *testing.T) {
	for _, id := range []string{"7", "4711471147114711471147", "007"[2:], "18446744073709551616"} {
		r, err := tokenstore.DecodeRecord([]byte(`{"provider":"p","type":"k","client_id":` + id + `}`))
		if err != nil || len(r.Slips) > 0 || r.ClientID != id {
			t.Errorf("%s: %q %v %v", id, r.ClientID, r.Slips, err)
		}
	}
}
