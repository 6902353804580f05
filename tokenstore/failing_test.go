package tokenstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

var (
	dead = &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
	odd  = &tokenstore.RefreshError{
		Class:   tokenstore.RefreshTransient,
		Status:  400,
		Code:    "not_in_the_mood",
		Message: "come back never",
	}
)

// otherFailures are all that say nothing of the credential.
var otherFailures = map[string]*tokenstore.RefreshError{
	"a limit":        {Class: tokenstore.RefreshTransient, Status: 429, Code: "rate_limit_error"},
	"a timeout":      {Class: tokenstore.RefreshNotSent, Message: "no answer in time"},
	"a lost answer":  {Class: tokenstore.RefreshUnknown, Message: "no answer in time"},
	"our own fault":  {Class: tokenstore.RefreshMisconfigured, Status: 401, Code: "invalid_client"},
	"an outage":      {Class: tokenstore.RefreshTransient, Status: 503},
	"odd words":      odd,
	"a broken proxy": {Class: tokenstore.RefreshTransient, Status: 407},
}

// asRecorded is how a process that starts now sees the account.
func (w *world) asRecorded() tokenstore.AccountStatus {
	w.t.Helper()
	other := open(w.t, w.memory, w.memory, w.driver)
	defer other.stop()
	return other.status("a")
}

// isDead checks that the account needs a human, in memory, in the record and in the metrics.
func (w *world) isDead(when, words string) {
	w.t.Helper()
	st := w.status("a")
	if st.State != tokenstore.StateNeedsReauth || st.Refreshable || !strings.Contains(st.Reason, words) {
		w.t.Errorf("%s it is %s: %s", when, st.State, st.Reason)
	}
	if st := w.asRecorded(); st.State != tokenstore.StateNeedsReauth || !strings.Contains(st.Reason, words) {
		w.t.Errorf("%s the record says %s: %s", when, st.State, st.Reason)
	}
}

func TestADeadCredentialStaysDeadWhateverALaterRefreshMeets(t *testing.T) {
	for name, later := range otherFailures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.driver.Refuse(dead)
				w.force("a", tokenstore.Failed)
				w.driver.Refuse(later)
				for range 5 {
					time.Sleep(time.Hour)
					w.force("a", tokenstore.Failed)
				}
				w.isDead("after five failed tries", "invalid_grant")
				w.stop()
				w = open(t, w.memory, w.memory, w.driver)
				w.renew()
				calls := w.driver.Calls()
				time.Sleep(48 * time.Hour)
				w.isDead("after a restart", "invalid_grant")
				if n := w.driver.Calls(); n != calls {
					t.Errorf("it was tried %d times by itself", n-calls)
				}
				w.driver.Refuse(nil)
				w.force("a", tokenstore.Refreshed)
				synctest.Wait()
				if st := w.status("a"); st.State != tokenstore.StateActive || st.Reason != "" ||
					w.stored("a").Rotation.Dead != nil {
					t.Errorf("a success leaves it %s: %s", st.State, st.Reason)
				}
			})
		})
	}
}

func TestACredentialThatMayBeSpentStaysInDoubtWhateverALaterRefreshMeets(t *testing.T) {
	for name, later := range otherFailures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.renew()
				w.driver.OnAnswer = func(context.Context, tokenstore.Record) error { return otherFailures["a lost answer"] }
				w.force("a", tokenstore.Failed)
				time.Sleep(time.Minute)
				w.driver.Refuse(later)
				w.force("a", tokenstore.Failed)
				synctest.Wait()
				inDoubt := func(when string) {
					if st := w.status("a"); st.State != tokenstore.StateAmbiguous || !st.Routable || w.driver.Calls() != 2 {
						t.Errorf("%s it is %s after %d grants: %s", when, st.State, w.driver.Calls(), st.Reason)
					}
				}
				inDoubt("after another failure")
				w.stop()
				w = open(t, w.memory, w.memory, w.driver)
				w.renew()
				time.Sleep(58 * time.Minute)
				inDoubt("after a restart, while its token lives,")
				time.Sleep(45 * time.Second)
				if n := w.driver.Calls(); n < 3 {
					t.Errorf("%d grants shortly before the token ends", n)
				}
			})
		})
	}
}

func TestADeathThatAnEarlierVersionWroteOutlivesATransientFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", func(r *tokenstore.Record) {
			r.Rotation.Last = &tokenstore.Outcome{
				At: time.Now().UTC(), Trigger: tokenstore.TriggerSchedule, Result: "failed", Class: tokenstore.RefreshPermanent,
				Error: "refresh refused_permanent: invalid_grant", Fingerprint: tokenstore.Fingerprint("a", r.RefreshToken),
			}
		}))
		w.isDead("as found", "invalid_grant")
		w.driver.Refuse(otherFailures["a limit"])
		w.force("a", tokenstore.Failed)
		w.isDead("after a limit", "invalid_grant")
		w.driver.Refuse(nil)
		w.renew()
		edit(t, w.memory, "a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("new") })
		time.Sleep(time.Second)
		if st := w.status("a"); st.State != tokenstore.StateActive || st.Reason != "" || !st.FailingSince.IsZero() {
			t.Errorf("with a new credential it is %s: %s", st.State, st.Reason)
		}
	})
}

func TestADeathThatCouldNotBeSavedIsNotForgottenWhenTheRecordIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		var down atomic.Bool
		m.Before = func(op string, _ tokenstore.AccountID) error {
			if op == "swap" && down.Load() {
				return errDown
			}
			return nil
		}
		w := open(t, m, m, d)
		d.OnRefresh = func(context.Context, tokenstore.Record) error { down.Store(true); return dead }
		w.force("a", tokenstore.Failed)
		down.Store(false)
		edit(t, m, "a", func(r *tokenstore.Record) { r.Labels = map[string]string{"team": "x"} })
		time.Sleep(time.Minute)
		if st := w.status("a"); st.State != tokenstore.StateNeedsReauth || st.Labels["team"] != "x" {
			t.Errorf("it is %s: %s", st.State, st.Reason)
		}
		d.OnRefresh = nil
		w.renew()
		edit(t, m, "a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("new") })
		time.Sleep(time.Second)
		if st := w.status("a"); st.State != tokenstore.StateActive {
			t.Errorf("with a new credential it is %s: %s", st.State, st.Reason)
		}
	})
}

func TestRefusalsInUnknownWordsEndInACallForAHumanAndAreTriedNowAndThen(t *testing.T) {
	for name, e := range map[string]*tokenstore.RefreshError{
		"400":              odd,
		"403":              {Class: tokenstore.RefreshTransient, Status: 403, Message: "not the token endpoint's"},
		"404":              {Class: tokenstore.RefreshTransient, Status: 404},
		"our own fault":    otherFailures["our own fault"],
		"an error in 200":  {Class: tokenstore.RefreshUnknown, Status: 200, Code: "out_of_paper"},
		"400 server_error": {Class: tokenstore.RefreshUnknown, Status: 400, Code: "server_error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a", expired))
				w.driver.Refuse(e)
				w.renew()
				time.Sleep(time.Hour)
				w.stop() // what was counted outlives the process
				w = open(t, w.memory, w.memory, w.driver)
				w.renew()
				time.Sleep(55 * time.Minute)
				if st := w.status("a"); st.State == tokenstore.StateNeedsReauth {
					t.Errorf("after two hours less five minutes it is %s: %s", st.State, st.Reason)
				}
				time.Sleep(time.Hour)
				w.isDead("after three hours", e.Error())
				if n := w.driver.Calls(); n > 60 {
					t.Errorf("%d tries in three hours", n)
				}
				if due := time.Until(w.status("a").NextRefresh); due <= 0 || due > time.Hour {
					t.Errorf("it is tried again in %v", due)
				}
				calls := w.driver.Calls()
				w.stop()
				w = open(t, w.memory, w.memory, w.driver)
				w.renew()
				w.noPick("r", "", tokenstore.ReasonNoHealthyAccount)
				time.Sleep(48 * time.Hour)
				if n := w.driver.Calls() - calls; n < 8 || n > 14 {
					t.Errorf("%d tries in two days", n)
				}
				w.isDead("after two days", e.Error())
				w.driver.Refuse(nil)
				time.Sleep(6*time.Hour + time.Minute)
				if st := w.status("a"); st.State != tokenstore.StateActive || w.stored("a").Rotation.Dead != nil ||
					!st.FailingSince.IsZero() {
					t.Errorf("the endpoint has changed its mind and it is %s: %s", st.State, st.Reason)
				}
			})
		})
	}
}

func TestADoomedCredentialIsTriedAtOnceWhenTheOperatorMendsWhatItsGrantsAreMadeOf(t *testing.T) {
	for name, mend := range map[string]func(*tokenstore.Record){
		"client secret": func(r *tokenstore.Record) { r.ClientSecret = tokenstore.NewSecret("right") },
		"resumed":       func(r *tokenstore.Record) { r.Rotation.Resumed = "now" },
	} {
		for helps, want := range map[bool]tokenstore.AccountState{
			true: tokenstore.StateActive, false: tokenstore.StateNeedsReauth,
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newStore(t, Account("a", expired))
					w.driver.Refuse(otherFailures["our own fault"])
					w.renew()
					time.Sleep(20 * time.Hour)
					w.isDead("after a day", "invalid_client")
					calls := w.driver.Calls()
					if helps {
						w.driver.Refuse(nil)
					}
					edit(t, w.memory, "a", mend)
					time.Sleep(time.Minute)
					if st := w.status("a"); st.State != want || w.driver.Calls() != calls+1 {
						t.Errorf("helps %t: it is %s after %d tries: %s", helps, st.State, w.driver.Calls()-calls, st.Reason)
					}
				})
			})
		}
	}
}

func TestTwoProcessesTryADoomedCredentialNoMoreOftenThanOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a", expired))
		one, two := open(t, m, m, d), open(t, m, m, d)
		one.driver.Refuse(odd)
		one.renew()
		two.renew()
		time.Sleep(4 * time.Hour)
		calls := d.Calls()
		time.Sleep(48 * time.Hour)
		one.isDead("in one process", "come back never")
		two.isDead("in the other", "come back never")
		if n := d.Calls() - calls; n < 8 || n > 14 {
			t.Errorf("%d tries in two days", n)
		}
	})
}

func TestFailuresThatAreNoRefusalsNeverCallForANewCredential(t *testing.T) {
	for _, name := range []string{"a limit", "a timeout", "a lost answer", "an outage", "a broken proxy"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a", expired))
				w.driver.Refuse(otherFailures[name])
				w.renew()
				time.Sleep(24 * time.Hour)
				if st := w.status("a"); st.State == tokenstore.StateNeedsReauth || time.Since(st.FailingSince) < 23*time.Hour {
					t.Errorf("it is %s: %s", st.State, st.Reason)
				}
			})
		})
	}
}

func TestALivingTokenKeepsARefusedAccountFromNeedingAHuman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", func(r *tokenstore.Record) { r.ExpiresAt = r.ObtainedAt.Add(4 * time.Hour) }))
		w.driver.Refuse(odd)
		w.force("a", tokenstore.Failed)
		w.renew()
		time.Sleep(3*time.Hour + 55*time.Minute)
		if st := w.status("a"); st.State != tokenstore.StateExpiring || !st.Routable ||
			!strings.Contains(st.Reason, "come back never") {
			t.Errorf("while its token lives it is %s, routable %t: %s", st.State, st.Routable, st.Reason)
		}
		time.Sleep(15 * time.Minute)
		w.isDead("when the token has ended", "come back never")
	})
}

func TestARenewalThatFailsIsToldOfAnAccountThatServes(t *testing.T) {
	for name, e := range otherFailures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.driver.Refuse(e)
				w.renew()
				time.Sleep(50 * time.Minute) // renewal is due after 36 to 40
				st := w.status("a")
				if since := time.Since(st.FailingSince); since < 10*time.Minute || since > 15*time.Minute ||
					st.LastError != e.Error() {
					t.Errorf("it fails since %v: %s", since, st.LastError)
				}
				if !st.Routable || st.State == tokenstore.StateActive || !strings.Contains(st.Reason, e.Error()) {
					t.Errorf("it is %s, routable %t: %s", st.State, st.Routable, st.Reason)
				}
				if st := w.asRecorded(); !strings.Contains(st.Reason, e.Error()) {
					t.Errorf("the record says %q", st.Reason)
				}
				w.driver.Refuse(nil)
				time.Sleep(11 * time.Minute)
				if st = w.status("a"); st.State != tokenstore.StateActive || st.Reason != "" || !st.FailingSince.IsZero() ||
					st.LastError != "" {
					t.Errorf("after a success it is %s since %v: %s", st.State, st.FailingSince, st.Reason)
				}
			})
		})
	}
}

func TestAFailureBeforeItsTimeLeavesAnAccountActiveWithAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.Refuse(otherFailures["our own fault"])
		w.force("a", tokenstore.Failed)
		synctest.Wait()
		if st := w.status("a"); st.State != tokenstore.StateActive || !strings.Contains(st.Reason, "invalid_client") {
			t.Errorf("it is %s: %s", st.State, st.Reason)
		}
	})
}

func TestARefreshThatTheStoreKeepsFromHappeningIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"))
		var down atomic.Bool
		m.Before = func(string, tokenstore.AccountID) error {
			if down.Load() {
				return errDown
			}
			return nil
		}
		w := open(t, m, m, d)
		w.renew()
		down.Store(true)
		time.Sleep(50 * time.Minute)
		if st := w.status("a"); st.FailingSince.IsZero() || !strings.Contains(st.Reason, "the store is not available") ||
			!st.Routable {
			t.Errorf("it is %s: %s", st.State, st.Reason)
		}
		down.Store(false)
		time.Sleep(8 * time.Minute)
		if st := w.status("a"); st.State != tokenstore.StateActive || st.Reason != "" {
			t.Errorf("afterwards it is %s: %s", st.State, st.Reason)
		}
	})
}

func TestAnAccountThatWaitsForAnotherProcessSaysForWhich(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", expired, func(r *tokenstore.Record) {
			r.Rotation.Claim = &tokenstore.Claim{
				AttemptID:   "x",
				Holder:      "replica-2",
				Fingerprint: tokenstore.Fingerprint("a", r.RefreshToken),
			}
		}))
		w.renew()
		time.Sleep(time.Second)
		if st := w.status("a"); st.State != tokenstore.StateExpired || !strings.Contains(st.Reason, "replica-2") {
			t.Errorf("it is %s: %s", st.State, st.Reason)
		}
		time.Sleep(time.Minute)
		if st := w.status("a"); st.State != tokenstore.StateActive || st.Reason != "" {
			t.Errorf("in the end it is %s: %s", st.State, st.Reason)
		}
	})
}

func TestTheBookkeepingOfFailuresSurvivesTheStore(t *testing.T) {
	r := Account("a").record
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r.Rotation.Dead = &tokenstore.Dead{Fingerprint: "f", At: now, Error: "e", Guessed: true}
	r.Rotation.Last = &tokenstore.Outcome{At: now, Result: "failed", FailingSince: now, Refusals: 3, RefusedSince: now}
	b, err := tokenstore.EncodeRecord(r.Clone())
	if err != nil {
		t.Fatal(err)
	}
	got, err := tokenstore.DecodeRecord(b)
	if err != nil || *got.Rotation.Dead != *r.Rotation.Dead || *got.Rotation.Last != *r.Rotation.Last {
		t.Errorf("%v: %s", err, fmt.Sprint(got.Rotation))
	}
}
