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

// ask picks for a request of a client and path.
func (w *world) ask(route, client, path string) tokenstore.Pick {
	w.t.Helper()
	return w.askAgain(route, client, path, nil)
}

func (w *world) askAgain(route, client, path string, trail *tokenstore.Trail) tokenstore.Pick {
	w.t.Helper()
	p, err := w.Pick(context.Background(), tokenstore.PickRequest{Route: route, Client: client, Path: path, Trail: trail})
	if err != nil {
		w.t.Fatalf("pick for %s of %s: %v", path, client, err)
	}
	return p
}

// request plays one request to its end: every attempt is answered as says, and returns the last decision.
func (w *world) request(
	route, client, path string, says func(tokenstore.Pick) tokenstore.Response,
) (d tokenstore.Decision, attempts int) {
	w.t.Helper()
	var trail *tokenstore.Trail
	for {
		p := w.askAgain(route, client, path, trail)
		attempts++
		d = w.report(p, says(p), trail)
		p.Release()
		if d.Action != tokenstore.Retry {
			return d, attempts
		}
		trail = d.Trail
	}
}

func always(status int) func(tokenstore.Pick) tokenstore.Response {
	return func(tokenstore.Pick) tokenstore.Response { return answer(status) }
}

func (w *world) good(client string) {
	w.t.Helper()
	if d, n := w.request("r", client, "/chat", always(200)); d.Action != tokenstore.Pass || n != 1 {
		w.t.Errorf("a good request ended with %s after %d attempts", d.Action, n)
	}
}

// benign wants every account to serve and be in good standing.
func (w *world) benign() {
	w.t.Helper()
	for _, st := range w.Statuses() {
		if st.State != tokenstore.StateActive || !st.Routable {
			w.t.Errorf("%s is %s (%s), routable %t", st.ID, st.State, st.Reason, st.Routable)
		}
		if last := w.stored(st.ID).Rotation.Last; last != nil && last.Class == tokenstore.RefreshPermanent {
			w.t.Errorf("%s is condemned in the store: %s", st.ID, last.Error)
		}
	}
}

func six() []given {
	var all []given
	for i := range 6 {
		all = append(all, Account(fmt.Sprint("a", i)))
	}
	return all
}

func TestBadRequestsOfOneClientNeitherBenchNorCondemnNorSpendMuch(t *testing.T) {
	for name, c := range map[string]struct {
		status, accounts, minutes int
		good                      bool // others' good requests go on meanwhile
	}{
		"401, others are served":             {401, 6, 5, true},
		"401, one account, others served":    {401, 1, 5, true},
		"401, two accounts, others served":   {401, 2, 5, true},
		"401, nobody else asks":              {401, 6, 5, false},
		"401, one account, nobody else asks": {401, 1, 5, false},
		"403 passes":                         {403, 3, 2, true},
		"400 passes":                         {400, 3, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, six()[:c.accounts]...)
				w.renew()
				for second := range 60 * c.minutes {
					if c.good {
						for range 5 {
							w.good("honest")
						}
					}
					if second%2 == 0 {
						synctest.Wait() // what the schedule does in this very instant is not the request's
						before := w.driver.Calls()
						w.request("r", "tool", "/organizations/x", always(c.status))
						synctest.Wait()
						if n := w.driver.Calls() - before; n > 1 {
							t.Fatalf("one request cost %d refreshes", n)
						}
					}
					time.Sleep(time.Second)
				}
				w.good("honest")
				w.benign()
				if n := w.driver.Calls(); n > c.accounts*(c.minutes+1) {
					t.Errorf("%d refreshes of %d accounts in %d minutes", n, c.accounts, c.minutes)
				}
				if n := w.driver.Calls(); c.good && n > 3*(c.minutes+1) { // it is known for what it is
					t.Errorf("%d refreshes in %d minutes for requests that others' success proves guilty", n, c.minutes)
				}
			})
		})
	}
}

func TestARequestThatASecondHealthyAccountRefusesGetsTheProvidersAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		for range 40 {
			w.good("honest")
		}
		for i := range 3 {
			d, n := w.request("r", "tool", "/organizations/x", always(401))
			if d.Action != tokenstore.Pass || d.Refusal != nil {
				t.Fatalf("request %d: %s", i, d.Action)
			}
			if n > 3 { // with the fresh token of the first, and with the second account's
				t.Errorf("request %d: %d attempts", i, n)
			}
		}
		w.benign()
		if n := w.metric("request_faults_total"); n != 3 {
			t.Errorf("%v faults are counted", n)
		}
	})
}

func TestNoRequestMakesAnAccountNeedAHuman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		w.renew()
		for i := range 200 { // many clients, many paths, for hours
			w.request("r", fmt.Sprint("c", i%7), fmt.Sprint("/p", i), always(401))
			time.Sleep(time.Minute)
		}
		for _, st := range w.Statuses() {
			if st.State == tokenstore.StateNeedsReauth || !st.Refreshable {
				t.Errorf("%s is %s", st.ID, st.State)
			}
		}
		d, _ := w.request("r", "honest", "/chat", always(200))
		if d.Action != tokenstore.Pass {
			t.Errorf("then a good request ends with %s", d.Action)
		}
	})
}

func TestRefusalsOfDifferentRequestsBenchAnAccountWhileOthersServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("sick"), Account("sound", inPool("spare")))
		says := func(p tokenstore.Pick) tokenstore.Response {
			if p.Account == "sick" {
				return answer(401)
			}
			return answer(200)
		}
		for i := range 2 {
			if d, _ := w.request("two", fmt.Sprint("c", i), "/chat", says); d.Action != tokenstore.Pass {
				t.Fatalf("%s", d.Action)
			}
		}
		st := w.status("sick")
		if st.State != tokenstore.StateCooling || st.Routable || w.driver.Calls() != 1 {
			t.Errorf("refused by all it is %s, routable %t, after %d refreshes", st.State, st.Routable, w.driver.Calls())
		}
		if d, n := w.request("two", "c9", "/chat", says); d.Action != tokenstore.Pass || n != 1 {
			t.Errorf("then %d attempts", n)
		}
		time.Sleep(2 * time.Minute)
		if st := w.status("sick"); st.State != tokenstore.StateActive {
			t.Errorf("two minutes later it is %s", st.State)
		}
	})
}

func TestARevokedTokenIsReplacedAsOftenAsThatProvesRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		for i := range 20 { // revoked every three seconds
			revoked := w.pick("r", nil).Generation
			d, n := w.request("r", "c", "/chat", func(p tokenstore.Pick) tokenstore.Response {
				if p.Generation == revoked {
					return answer(401)
				}
				return answer(200)
			})
			if d.Action != tokenstore.Pass || n != 2 {
				t.Fatalf("time %d: %s after %d attempts", i, d.Action, n)
			}
			time.Sleep(3 * time.Second)
		}
		if n := w.driver.Calls(); n != 20 {
			t.Errorf("%d refreshes", n)
		}
	})
}

func TestATokenRefusedOnALastAttemptIsRefreshedForThoseWhoCome(t *testing.T) {
	for name, healthy := range map[string]bool{"never accepted": false, "accepted just now": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"), Account("b"))
				w.renew()
				if healthy {
					for range 40 {
						w.good("honest")
					}
				}
				p := w.ask("once", "c", "/chat")
				w.report(p, answer(401), nil)
				time.Sleep(time.Second)
				if st := w.status(p.Account); st.Generation != 2 || w.driver.Calls() != 1 {
					t.Errorf("generation %d after %d refreshes", st.Generation, w.driver.Calls())
				}
			})
		})
	}
}

func TestAnAccountThatOnlyOthersPassForIsRefreshedThoughItsRequestCostOneAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"), Account("c"))
		w.renew()
		seen := map[tokenstore.AccountID]bool{}
		d, _ := w.request("r", "c", "/chat", func(p tokenstore.Pick) tokenstore.Response {
			if seen[p.Account] = true; len(seen) < 3 { // the first is refused even after its refresh, so is the second
				return answer(401)
			}
			return answer(200)
		})
		if d.Action != tokenstore.Pass {
			t.Fatalf("%s", d.Action)
		}
		time.Sleep(time.Second)
		if n := w.driver.Calls(); n != 2 {
			t.Errorf("%d refreshes, want that of the request and that of the account that was to blame", n)
		}
	})
}

func TestWhileTheTokenEndpointIsAwayARefusedTokenStillServesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshTransient, Status: 429, RetryAfter: 10 * time.Minute}
		}
		w.request("r", "tool", "/organizations/x", always(401))
		for range 30 {
			w.good("honest")
			time.Sleep(time.Second)
		}
	})
}

func TestADeadRefreshTokenAndARefusedAccessTokenServeAfterAllOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("dead"), Account("spare", inPool("spare")))
		w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
		}
		w.report(w.pick("r", nil), answer(200), nil)
		time.Sleep(2 * time.Minute) // it is not known to be healthy any more
		w.report(w.ask("two", "tool", "/organizations/x"), answer(401), nil)
		for range 5 {
			if p := w.pick("two", nil); p.Account != "spare" {
				t.Fatalf("picked %s", p.Account)
			}
		}
		if st := w.status("dead"); st.State != tokenstore.StateNeedsReauth || st.Routable {
			t.Errorf("%s, routable %t", st.State, st.Routable)
		}
		p := w.pick("r", nil)
		if p.Account != "dead" {
			t.Errorf("picked %s", p.Account)
		}
		w.report(p, answer(401), nil) // another client's, for something else
		w.good("honest")              // they may all have been guilty, and nobody else is there
	})
}

func TestAnAmbiguousAccountWhoseLivingTokenIsRefusedIsRefreshedAtOnce(t *testing.T) {
	for name, healthy := range map[string]bool{"never accepted": false, "accepted just now": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := ambiguous(t)
				if healthy {
					w.good("honest")
				}
				d, _ := w.request("r", "c", "/chat", func(p tokenstore.Pick) tokenstore.Response {
					if p.Generation == 1 {
						return answer(401)
					}
					return answer(200)
				})
				if !healthy && d.Action != tokenstore.Pass {
					t.Errorf("the request that met the refusal ended with %s", d.Action)
				}
				time.Sleep(6 * time.Second)
				if st := w.status("a"); st.State != tokenstore.StateActive || st.Generation != 2 {
					t.Errorf("it is %s (%s) with generation %d", st.State, st.Reason, st.Generation)
				}
			})
		})
	}
}

func TestOneBadRequestDoesNotHaveAHealthyAmbiguousAccountPresentItsTokenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ambiguous(t)
		for range 30 {
			w.good("honest")
			w.request("r", "tool", "/organizations/x", always(401))
			time.Sleep(time.Second)
		}
		if st := w.status("a"); st.State != tokenstore.StateAmbiguous || w.driver.Calls() != 1 {
			t.Errorf("it is %s after %d refreshes", st.State, w.driver.Calls())
		}
	})
}

// ambiguous is a store with one account whose refresh got no readable answer and was not processed.
func ambiguous(t *testing.T) *world {
	t.Helper()
	w := newStore(t, Account("a"))
	var back atomic.Bool
	w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
		if back.Load() {
			return nil
		}
		return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown, Status: 502}
	}
	w.renew()
	w.force("a", tokenstore.Failed)
	back.Store(true)
	time.Sleep(10 * time.Second) // longer than its pause after a failure
	return w
}

func TestACooldownIsProbedEveryHalfHourAndLiftedByWhatDisprovesIt(t *testing.T) {
	week := limited(7 * 24 * 3600)
	cooling := func(t *testing.T) *world {
		t.Helper()
		w := newStore(t, Account("a"))
		w.renew()
		p := w.pick("still", nil)
		time.Sleep(time.Second)
		w.report(p, week, nil)
		if st := w.status("a"); st.State != tokenstore.StateCooling || time.Until(st.Cooldowns[0].Until) != 7*24*time.Hour ||
			time.Until(st.Cooldowns[0].Probe) != 30*time.Minute {
			t.Fatalf("%+v", st)
		}
		w.noPick("still", "", tokenstore.ReasonAllCooling)
		return w
	}
	serves := func(t *testing.T, w *world) {
		t.Helper()
		for range 3 {
			w.report(w.pick("still", nil), answer(200), nil)
		}
		if st := w.status("a"); st.State != tokenstore.StateActive || len(st.Cooldowns) != 0 {
			t.Errorf("it is %s", st.State)
		}
	}
	for name, lift := range map[string]func(t *testing.T, w *world){
		"a probe that is accepted": func(t *testing.T, w *world) {
			t.Helper()
			time.Sleep(30*time.Minute + time.Second)
			p := w.pick("still", nil)
			w.noPick("still", "", tokenstore.ReasonAllCooling) // one probe at a time
			w.report(p, answer(200), nil)
		},
		"a second probe": func(t *testing.T, w *world) {
			t.Helper()
			time.Sleep(30*time.Minute + time.Second)
			w.report(w.pick("still", nil), week, nil)
			w.noPick("still", "", tokenstore.ReasonAllCooling)
			time.Sleep(30*time.Minute + time.Second)
			w.report(w.pick("still", nil), answer(200), nil)
		},
		"a probe that tells nothing, and the next": func(t *testing.T, w *world) {
			t.Helper()
			time.Sleep(30*time.Minute + time.Second)
			w.report(w.pick("still", nil), answer(500), nil)
			time.Sleep(time.Minute + time.Second)
			w.report(w.pick("still", nil), answer(200), nil)
		},
		"a new credential": func(t *testing.T, w *world) {
			t.Helper()
			edit(t, w.memory, "a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("another") })
			time.Sleep(time.Second)
		},
		"an operator who resumes it": func(t *testing.T, w *world) {
			t.Helper()
			edit(t, w.memory, "a", func(r *tokenstore.Record) { r.Rotation.Resumed = "now" })
			time.Sleep(time.Second)
		},
		"a pause and its end": func(t *testing.T, w *world) {
			t.Helper()
			edit(t, w.memory, "a", func(r *tokenstore.Record) { r.State = tokenstore.Paused })
			time.Sleep(time.Second)
			edit(t, w.memory, "a", func(r *tokenstore.Record) { r.State = tokenstore.Active })
			time.Sleep(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := cooling(t)
				lift(t, w)
				serves(t, w)
			})
		})
	}
	t.Run("headers that show room, of an attempt that was under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, Account("a"))
			early, p := w.pick("still", nil), w.pick("still", nil)
			time.Sleep(2 * time.Second)
			w.report(p, week, nil)
			w.report(early, answer(200), nil) // was picked before the limit was met
			w.noPick("still", "", tokenstore.ReasonAllCooling)
			room := answer(200)
			room.Header = tokenstoretest.Header{"remaining": "17"}
			w.report(early, room, nil)
			serves(t, w)
		})
	})
}

func TestAFailingRefreshIsTriedAtOnceWhenTheOperatorMendsWhatItIsMadeOf(t *testing.T) {
	for name, mend := range map[string]func(*tokenstore.Record){
		"client secret": func(r *tokenstore.Record) { r.ClientSecret = tokenstore.NewSecret("right") },
		"client id":     func(r *tokenstore.Record) { r.ClientID = "right" },
		"resumed":       func(r *tokenstore.Record) { r.Rotation.Resumed = "now" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a", expired))
				var mended atomic.Bool
				w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
					if mended.Load() {
						return nil
					}
					return &tokenstore.RefreshError{Class: tokenstore.RefreshMisconfigured, Status: 401, Code: "invalid_client"}
				}
				w.renew()
				time.Sleep(time.Second)
				mended.Store(true)
				edit(t, w.memory, "a", mend)
				time.Sleep(2 * time.Second)
				if st := w.status("a"); st.State != tokenstore.StateActive {
					t.Errorf("it is %s: %s, next %v", st.State, st.Reason, time.Until(st.NextRefresh))
				}
			})
		})
	}
}

func TestAWordOfAnOlderVersionAboutAnswersCondemnsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a", func(r *tokenstore.Record) {
			r.Rotation.Last = &tokenstore.Outcome{
				Class: tokenstore.RefreshPermanent, Result: "failed", Error: "its tokens are refused right after a refresh",
				Fingerprint: tokenstore.Fingerprint("a", r.RefreshToken),
			}
		}))
		if st := w.status("a"); st.State != tokenstore.StateActive || !st.Refreshable ||
			strings.Contains(st.Reason, "refused for good") {
			t.Errorf("%s: %s", st.State, st.Reason)
		}
	})
}

func TestAGoodRequestThatMeetsTwoRevokedTokensIsNotFoundGuilty(t *testing.T) {
	for name, endpoint := range map[string]error{
		"both can be refreshed":              nil,
		"the token endpoint refuses for now": &tokenstore.RefreshError{Class: tokenstore.RefreshTransient, Status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"), Account("b"))
				w.renew()
				for range 40 {
					w.good("honest") // both are healthy, and known to be
				}
				w.driver.OnRefresh = func(context.Context, tokenstore.Record) error { return endpoint }
				d, _ := w.request("r", "honest", "/chat", func(p tokenstore.Pick) tokenstore.Response {
					if p.Generation == 1 { // revoked, both at once
						return answer(401)
					}
					return answer(200)
				})
				if d.Action == tokenstore.Pass && d.Verdict.Class != tokenstore.ClassOK {
					t.Errorf("the client got the provider's %s", d.Verdict.Class)
				}
				if n := w.metric("request_faults_total"); n != 0 {
					t.Errorf("%v requests were found guilty", n)
				}
			})
		})
	}
}

func TestAShapeThatIsAcceptedAgainIsNotHeldAgainstItsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		w.renew()
		for range 40 {
			w.good("app")
		}
		w.request("r", "app", "/chat", always(401)) // one bad request of an app
		for range 40 {
			w.good("app")
		}
		time.Sleep(61 * time.Second)
		for range 40 {
			w.good("app")
		}
		d, _ := w.request("r", "app", "/chat", func(p tokenstore.Pick) tokenstore.Response {
			if p.Generation <= 2 && w.driver.Calls() < 2 { // then both tokens are revoked
				return answer(401)
			}
			return answer(200)
		})
		if d.Verdict.Class != tokenstore.ClassOK {
			t.Errorf("the app's next request ended with %s, %s", d.Action, d.Verdict.Class)
		}
	})
}

func TestWhereEveryAccountIsDeadNoRequestIsFoundGuilty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"), Account("c"))
		w.renew()
		for i := range 5 { // tokens can be refreshed, and the provider refuses them all
			if d, _ := w.request("r", "c", "/chat", always(401)); d.Action != tokenstore.Refuse {
				t.Errorf("request %d: %s", i, d.Action)
			}
		}
	})
}

// Within a minute after bad requests have cost each account its refresh, none can be made to find out who is to blame.
func TestBadRequestsOfEveryKindGetTheProvidersAnswerAlsoWhenNoRefreshIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		w.renew()
		for i := range 8 {
			for range 10 {
				w.good("honest") // both are healthy, and known to be
			}
			time.Sleep(time.Second)
			d, _ := w.request("r", "bad", fmt.Sprint("/bad", i), always(401))
			if d.Action != tokenstore.Pass {
				t.Errorf("bad request %d: %s", i, d.Action)
			}
		}
		if n := w.driver.Calls(); n > 4 {
			t.Errorf("%d refreshes, with those of the start", n)
		}
	})
}

func TestADoubtOfAnotherProcessEndsLikewiseWhenTheLivingTokenIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		marked bool
		within time.Duration
	}{
		"it said so":    {true, 6 * time.Second},
		"it was killed": {false, time.Minute}, // its lease has to run out first
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := ambiguous(t)
				if !c.marked {
					w.edit("a", func(r *tokenstore.Record) {
						r.Rotation.Claim.Ambiguous, r.Rotation.Claim.Holder, r.Rotation.Claim.LeaseSeconds = false, "dead", 45
					})
				}
				w.stop()
				next := open(t, w.memory, w.memory, w.driver)
				next.renew()
				next.good("honest")
				next.request("r", "c", "/chat", func(p tokenstore.Pick) tokenstore.Response {
					if p.Generation == 1 {
						return answer(401)
					}
					return answer(200)
				})
				time.Sleep(c.within)
				if st := next.status("a"); st.State != tokenstore.StateActive || st.Generation != 2 {
					t.Errorf("it is %s (%s) with generation %d", st.State, st.Reason, st.Generation)
				}
			})
		})
	}
}
