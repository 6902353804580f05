package tokenstore_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// pastes are the ways in which an operator gives an account another refresh token.
var pastes = map[string]func(id tokenstore.AccountID, r *tokenstore.Record, token string){
	"by command": func(id tokenstore.AccountID, r *tokenstore.Record, token string) {
		next := r.Clone()
		next.RefreshToken = tokenstore.NewSecret(token)
		*r = tokenstore.Replace(id, *r, next, time.Now())
	},
	"by kv patch": func(_ tokenstore.AccountID, r *tokenstore.Record, token string) {
		r.RefreshToken = tokenstore.NewSecret(token)
	},
	"by kv put": func(_ tokenstore.AccountID, r *tokenstore.Record, token string) {
		*r = tokenstore.Record{Provider: "p", Kind: r.Kind, RefreshToken: tokenstore.NewSecret(token)}
	},
}

// pasted runs a test for each of them, on a store that renews account a, whose token has just begun an hour's life.
func pasted(t *testing.T, f func(t *testing.T, w *world, paste func(token string))) {
	for name, how := range pastes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.renew()
				f(t, w, func(token string) {
					edit(t, w.memory, "a", func(r *tokenstore.Record) { how("a", r, token) })
					time.Sleep(time.Second)
				})
				if w.driver.MostSpent() > 1 {
					t.Error("a refresh token was spent twice")
				}
			})
		})
	}
}

// told is what the token endpoint answers for one refresh token. Requests are under way while it changes.
type told struct {
	token string
	class tokenstore.RefreshClass
	lost  bool // after it was processed
}

// endpoint has the token endpoint answer as told, until it is told otherwise.
func endpoint(d *tokenstoretest.Driver) (tell func(told)) {
	var now atomic.Pointer[told]
	answer := func(lost bool) func(context.Context, tokenstore.Record) error {
		return func(_ context.Context, r tokenstore.Record) error {
			if now := now.Load(); now != nil && now.lost == lost && r.RefreshToken.Reveal() == now.token {
				return &tokenstore.RefreshError{Class: now.class, Status: 400, Code: "told_so"}
			}
			return nil
		}
	}
	d.OnRefresh, d.OnAnswer = answer(false), answer(true)
	return func(t told) { now.Store(&t) }
}

// refuse has the token endpoint answer for one refresh token. Before anything is refreshed.
func refuse(w *world, token string, class tokenstore.RefreshClass) {
	endpoint(w.driver)(told{token: token, class: class})
}

func (w *world) serves(token string) {
	w.t.Helper()
	if p := w.pick("r", nil); p.Headers[0].Value != "Bearer "+token {
		w.t.Errorf("another token serves than %s", token)
	}
}

func TestANewCredentialIsExchangedAtOnceAndTheFormerOneForgotten(t *testing.T) {
	pasted(t, func(t *testing.T, w *world, paste func(string)) {
		paste("good")
		r := w.stored("a")
		if r.RefreshToken.Reveal() != "rt-1" || r.Former != nil || w.driver.Calls() != 1 {
			t.Errorf("stored %q, former %v, %d grants", r.RefreshToken.Reveal(), r.Former, w.driver.Calls())
		}
		w.serves("at-1")
	})
}

func TestARefusedCredentialGivesWayToTheFormerOneWhichSpendsNothing(t *testing.T) {
	pasted(t, func(t *testing.T, w *world, paste func(string)) {
		refuse(w, "bad", tokenstore.RefreshPermanent)
		paste("bad")
		time.Sleep(10 * time.Minute)
		r, st := w.stored("a"), w.status("a")
		if r.RefreshToken.Reveal() != "rt-of-a" || r.Former != nil || r.Rotation.Claim != nil || w.driver.Calls() != 1 {
			t.Errorf("stored %q, former %v, claim %v, %d grants", r.RefreshToken.Reveal(), r.Former, r.Rotation.Claim, w.driver.Calls())
		}
		if st.State != tokenstore.StateActive || !st.Refreshable ||
			!strings.Contains(st.Reason, "the former one is in use again") ||
			!strings.Contains(st.Reason, "told_so") {
			t.Errorf("%s, refreshable %t: %s", st.State, st.Refreshable, st.Reason)
		}
		w.serves("at-of-a")
		time.Sleep(45 * time.Minute)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" {
			t.Errorf("after the renewal %q", r.RefreshToken.Reveal())
		}
	})
}

func TestWhileTheTokenEndpointIsDownTheTokenServesAndBothCredentialsAreKept(t *testing.T) {
	pasted(t, func(t *testing.T, w *world, paste func(string)) {
		tell := endpoint(w.driver)
		tell(told{token: "good", class: tokenstore.RefreshTransient})
		paste("good")
		time.Sleep(5 * time.Minute)
		r := w.stored("a")
		if r.RefreshToken.Reveal() != "good" || r.Former == nil || r.Former.RefreshToken.Reveal() != "rt-of-a" ||
			w.driver.Calls() < 3 {
			t.Errorf("stored %q, former %v, %d grants", r.RefreshToken.Reveal(), r.Former, w.driver.Calls())
		}
		w.serves("at-of-a")
		tell(told{})
		time.Sleep(6 * time.Minute)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-1" || r.Former != nil {
			t.Errorf("in the end %q, former %v", r.RefreshToken.Reveal(), r.Former)
		}
	})
}

func TestANewCredentialWhoseAnswerGotLostWaitsForTheTokensEndAndThenGivesWay(t *testing.T) {
	pasted(t, func(t *testing.T, w *world, paste func(string)) {
		tell := endpoint(w.driver)
		tell(told{token: "lost", class: tokenstore.RefreshUnknown, lost: true})
		paste("lost")
		if st := w.status("a"); st.State != tokenstore.StateAmbiguous {
			t.Errorf("it is %s", st.State)
		}
		time.Sleep(50 * time.Minute)
		w.serves("at-of-a")
		if w.driver.Calls() != 1 {
			t.Errorf("%d grants while the token lives", w.driver.Calls())
		}
		tell(told{token: "lost", class: tokenstore.RefreshPermanent}) // the strict provider's second answer
		time.Sleep(10 * time.Minute)
		if r := w.stored("a"); !strings.HasPrefix(r.RefreshToken.Reveal(), "rt-") || r.RefreshToken.Reveal() == "rt-of-a" {
			t.Errorf("stored %q", r.RefreshToken.Reveal())
		}
		if st := w.status("a"); st.State != tokenstore.StateActive {
			t.Errorf("in the end %s: %s", st.State, st.Reason)
		}
	})
}

func TestACredentialReplacedDuringARefreshLeavesWhatTheRefreshBroughtAsTheFormerOne(t *testing.T) {
	for name, how := range pastes {
		for _, good := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", good", false: ", bad"}[good], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newStore(t, Account("a"))
					w.renew()
					w.driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
						switch r.RefreshToken.Reveal() {
						case "rt-of-a":
							edit(t, w.memory, "a", func(r *tokenstore.Record) { how("a", r, "new") })
							time.Sleep(2 * time.Second)
						case "new":
							if !good {
								return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Code: "told_so"}
							}
						}
						return nil
					}
					w.force("a", tokenstore.Refreshed)
					time.Sleep(time.Minute)
					want := map[bool]string{true: "rt-2", false: "rt-1"}[good]
					if r := w.stored("a"); r.RefreshToken.Reveal() != want || r.Former != nil || r.Rotation.Claim != nil {
						t.Errorf("stored %q, want %q, former %v, claim %v", r.RefreshToken.Reveal(), want, r.Former, r.Rotation.Claim)
					}
					w.serves(map[bool]string{true: "at-2", false: "at-1"}[good])
					w.force("a", tokenstore.Refreshed)
					if w.driver.MostSpent() > 1 {
						t.Error("a refresh token was spent twice")
					}
				})
			})
		}
	}
}

func TestACredentialReplacedDuringARefreshWhoseAnswerGetsLostIsNotPresentedEarly(t *testing.T) {
	for name, how := range pastes {
		if name == "by kv put" {
			continue // the record's claim is gone with it: nothing tells
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.renew()
				var presented atomic.Int32
				w.driver.OnRefresh = func(_ context.Context, r tokenstore.Record) error {
					if r.RefreshToken.Reveal() == "new" {
						return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Code: "told_so"}
					}
					if presented.Add(1) == 1 {
						edit(t, w.memory, "a", func(r *tokenstore.Record) { how("a", r, "new") })
						time.Sleep(2 * time.Second)
						return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown}
					}
					return nil
				}
				w.force("a", tokenstore.Failed)
				time.Sleep(50 * time.Minute)
				if st := w.status("a"); presented.Load() != 1 || !st.Routable {
					t.Errorf("presented %d times, %s: %s", presented.Load(), st.State, st.Reason)
				}
				time.Sleep(10 * time.Minute)
				if presented.Load() != 2 {
					t.Errorf("presented %d times in all", presented.Load())
				}
			})
		})
	}
}

func TestAProcessThatStartsFindsTheNewCredentialAndTheFormerOneInTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := Account("a")
		next := a.record.Clone()
		next.RefreshToken = tokenstore.NewSecret("bad")
		a.record = tokenstore.Replace("a", a.record, next, time.Now())
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, a)
		w := open(t, m, m, d)
		refuse(w, "bad", tokenstore.RefreshPermanent)
		w.renew()
		time.Sleep(time.Second)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-of-a" || d.Calls() != 1 {
			t.Errorf("stored %q after %d grants", r.RefreshToken.Reveal(), d.Calls())
		}
	})
}

func TestReplicasTryANewCredentialOnceAndFallBackTogether(t *testing.T) {
	for name, how := range pastes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				peer := open(t, w.memory, w.memory, w.driver)
				w.renew()
				peer.renew()
				refuse(w, "bad", tokenstore.RefreshPermanent)
				edit(t, w.memory, "a", func(r *tokenstore.Record) { how("a", r, "bad") })
				time.Sleep(20 * time.Minute)
				if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-of-a" || w.driver.Calls() != 1 {
					t.Errorf("stored %q after %d grants", r.RefreshToken.Reveal(), w.driver.Calls())
				}
				w.serves("at-of-a")
				peer.serves("at-of-a")
				time.Sleep(40 * time.Minute)
				if w.driver.MostSpent() > 1 {
					t.Error("a refresh token was spent twice")
				}
			})
		})
	}
}

func TestAnUnknownClientRejectsACredentialOnlyIfTheClientIsNew(t *testing.T) {
	for client, back := range map[string]bool{"": false, "other": true} {
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, Account("a"))
			w.renew()
			refuse(w, "new", tokenstore.RefreshMisconfigured)
			edit(t, w.memory, "a", func(r *tokenstore.Record) {
				next := r.Clone()
				next.RefreshToken, next.ClientID = tokenstore.NewSecret("new"), client
				*r = tokenstore.Replace("a", *r, next, time.Now())
			})
			time.Sleep(time.Second)
			if r := w.stored("a"); (r.RefreshToken.Reveal() == "rt-of-a") != back || (r.Former == nil) != back ||
				r.ClientID != "" && back {
				t.Errorf("client %q: stored %q of client %q, former %v", client, r.RefreshToken.Reveal(), r.ClientID, r.Former)
			}
		})
	}
}

func TestACredentialThatCannotBeOneIsReportedAndTheAccountGoesOn(t *testing.T) {
	for _, token := range []string{`{"claudeAiOauth":{"refreshToken":"x"}}`, `"rt-abc"`, "Bearer abc", "rt abc", "rt\u200babc", "r\x00t\x00"} {
		pasted(t, func(t *testing.T, w *world, paste func(string)) {
			paste(token)
			time.Sleep(5 * time.Minute)
			st := w.status("a")
			if st.State != tokenstore.StateConfigError || !st.Routable || st.Refreshable ||
				!strings.Contains(st.Reason, "refresh_token") ||
				strings.Contains(st.Reason, "abc") {
				t.Errorf("%s, routable %t, refreshable %t: %s", st.State, st.Routable, st.Refreshable, st.Reason)
			}
			w.serves("at-of-a")
			if w.driver.Calls() != 0 {
				t.Errorf("%d grants", w.driver.Calls())
			}
			time.Sleep(50 * time.Minute) // the renewal is due: the former one's turn
			if r, st := w.stored("a"), w.status("a"); r.RefreshToken.Reveal() != "rt-1" || st.State != tokenstore.StateActive {
				t.Errorf("stored %q; %s: %s", r.RefreshToken.Reveal(), st.State, st.Reason)
			}
		})
	}
}

func TestAFormerCredentialThatIsGivenBackByHandSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.renew()
		refuse(w, "good", tokenstore.RefreshTransient)
		for _, token := range []string{"good", "rt-of-a"} {
			edit(t, w.memory, "a", func(r *tokenstore.Record) { pastes["by command"]("a", r, token) })
			time.Sleep(time.Minute)
		}
		calls := w.driver.Calls()
		time.Sleep(10 * time.Minute)
		if r := w.stored("a"); r.RefreshToken.Reveal() != "rt-of-a" || r.Former != nil || w.driver.Calls() != calls {
			t.Errorf("stored %q, former %v, %d grants after %d", r.RefreshToken.Reveal(), r.Former, w.driver.Calls(), calls)
		}
		w.serves("at-of-a")
	})
}

func TestACredentialThatIsKnownToBeDeadDoesNotComeBack(t *testing.T) {
	for name, how := range pastes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.renew()
				tell := endpoint(w.driver)
				tell(told{token: "rt-of-a", class: tokenstore.RefreshPermanent})
				w.force("a", tokenstore.Failed)
				calls := w.driver.Calls()
				tell(told{token: "bad", class: tokenstore.RefreshTransient})
				edit(t, w.memory, "a", func(r *tokenstore.Record) { how("a", r, "bad") })
				time.Sleep(time.Minute)
				if w.driver.Calls() == calls {
					t.Fatal("the new one was not tried")
				}
				tell(told{token: "bad", class: tokenstore.RefreshPermanent})
				time.Sleep(10 * time.Minute)
				if r, st := w.stored(
					"a",
				), w.status("a"); r.RefreshToken.Reveal() != "bad" || st.State != tokenstore.StateNeedsReauth ||
					!st.Routable {
					t.Errorf("stored %q; %s, routable %t: %s", r.RefreshToken.Reveal(), st.State, st.Routable, st.Reason)
				}
			})
		})
	}
}
