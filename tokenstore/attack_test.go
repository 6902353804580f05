package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

// What a hostile client tried: one client's requests, whatever their paths, must not change what others get.

// concurrently has a client's requests refused at the same time, each for a path of its own, as long as the answers
// take.
func (w *world) concurrently(n int, route, client string, took time.Duration) {
	w.t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var trail *tokenstore.Trail
			for {
				p, err := w.Pick(context.Background(), tokenstore.PickRequest{Route: route, Client: client, Path: fmt.Sprint("/organizations/", i), Trail: trail})
				if err != nil {
					return
				}
				time.Sleep(took)
				d, err := w.Report(context.Background(), p, answer(401), trail, nil)
				p.Release()
				if err != nil || d.Action != tokenstore.Retry {
					return
				}
				trail = d.Trail
			}
		})
	}
	wg.Wait()
}

func TestAClientThatWalksOverManyPathsMovesNobodyToAnotherUpstream(t *testing.T) {
	for name, accounts := range map[string]int{"one account": 1, "two accounts": 2, "six accounts": 6} {
		for kind, bad := range map[string]func(w *world, second int){
			"one after the other": func(w *world, second int) {
				if second%2 == 0 {
					w.request("two", "tool", fmt.Sprint("/organizations/", second), always(401))
				}
			},
			"many at once": func(w *world, _ int) { w.concurrently(5, "two", "tool", 10*time.Millisecond) },
			"402": func(w *world, second int) {
				w.request("two", "tool", fmt.Sprint("/organizations/", second), func(tokenstore.Pick) tokenstore.Response { return answer(402) })
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newStore(t, append(six()[:accounts], Account("spare", inPool("spare")))...)
					w.renew()
					for range 8 * accounts {
						w.good("honest")
					}
					for second := range 200 {
						bad(w, second)
						if second%5 == 4 {
							p := w.ask("two", "honest", "/chat")
							if p.Account == "spare" {
								t.Fatalf("second %d: moved to another upstream", second)
							}
							w.report(p, answer(200), nil)
							p.Release()
						}
						time.Sleep(time.Second)
					}
					if n := w.driver.Calls(); n > 4*(accounts+1) {
						t.Errorf("%d refreshes of %d accounts in 200 seconds", n, accounts+1)
					}
				})
			})
		}
	}
}

func TestWhileATokenEndpointHangsOneBadRequestDelaysNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.renew()
		w.driver.OnRefresh = func(ctx context.Context, _ tokenstore.Record) error {
			<-ctx.Done()
			return &tokenstore.RefreshError{Class: tokenstore.RefreshNotSent}
		}
		go func() {
			p, _ := w.Pick(context.Background(), tokenstore.PickRequest{Route: "r", Client: "tool", Path: "/organizations/x"})
			_, _ = w.Report(context.Background(), p, answer(401), nil, nil)
		}()
		time.Sleep(time.Second)
		for i := range 20 {
			began := time.Now()
			p, err := w.Pick(context.Background(), tokenstore.PickRequest{Route: "r", Client: "honest", Path: "/chat"})
			if ref, ok := errors.AsType[*tokenstore.Refusal](err); ok {
				t.Fatalf("request %d after %v: %v", i, time.Since(began), ref)
			}
			if waited := time.Since(began); waited > 3*time.Second {
				t.Errorf("request %d waited %v", i, waited)
			}
			time.Sleep(100 * time.Millisecond)
			if i > 2 {
				w.report(p, answer(200), nil)
			}
			p.Release()
		}
	})
}

func TestBadRequestsTakeNoLivingTokenFromOthersThoughItsCredentialIsDead(t *testing.T) {
	for name, accepted := range map[string]bool{"just started": false, "accepted a second ago": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.renew()
				w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
					return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
				}
				w.force("a", tokenstore.Failed)
				if accepted {
					w.good("honest")
				}
				for range 10 {
					if accepted {
						w.concurrently(5, "r", "tool", 10*time.Millisecond)
					} else {
						w.request("r", "tool", "/organizations/x", always(401))
						time.Sleep(time.Minute) // it was never accepted: the next attempt may try it then
					}
					time.Sleep(time.Second)
					w.good("honest")
				}
			})
		})
	}
	t.Run("many paths before anybody else comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, Account("a"))
			w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
				return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
			}
			w.force("a", tokenstore.Failed)
			w.concurrently(5, "r", "tool", 10*time.Millisecond)
			time.Sleep(time.Minute + time.Second)
			w.good("honest")
		})
	})
	t.Run("but a limit's end is waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, Account("a"), Account("b"))
			w.driver.OnRefresh = func(context.Context, tokenstore.Record) error {
				return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
			}
			w.force("a", tokenstore.Failed)
			for range 20 {
				w.good("honest")
			}
			time.Sleep(2 * time.Minute)
			p := w.ask("r", "honest", "/chat")
			for p.Account != "a" {
				p = w.ask("r", "honest", "/chat")
			}
			w.report(p, answer(401), nil)
			w.report(w.pick("still", nil), limited(60), nil)
			if p = w.ask("still", "another", "/chat"); p.Account != "a" { // nobody else has tried it
				t.Errorf("picked %s", p.Account)
			}
			w.report(p, answer(401), nil)
			w.noPick("still", "", tokenstore.ReasonAllCooling)
		})
	})
}

func TestAnAnswerToAnOlderAttemptNeitherLiftsNorSetsALimit(t *testing.T) {
	t.Run("accepted before a second limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newStore(t, Account("a"))
			w.report(w.pick("still", nil), limited(10), nil)
			time.Sleep(11 * time.Second)
			early := w.pick("still", nil)
			time.Sleep(time.Second)
			w.report(w.pick("still", nil), limited(600), nil)
			time.Sleep(time.Second)
			w.report(early, answer(200), nil)
			w.noPick("still", "", tokenstore.ReasonAllCooling)
		})
	})
	for name, lift := range map[string]func(*tokenstore.Record){
		"a new credential": func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("another") },
		"resumed":          func(r *tokenstore.Record) { r.Rotation.Resumed = "now" },
	} {
		t.Run("limited before "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				w.renew()
				early := w.pick("still", nil)
				time.Sleep(time.Second)
				edit(t, w.memory, "a", lift)
				time.Sleep(time.Second)
				w.report(early, limited(7*24*3600), nil)
				w.pick("still", nil)
			})
		})
	}
}

// Nothing proves such a request guilty: all tokens may be dead. Its client gets our 503, as the interface promises.
func TestARequestThatAllRefuseWhileNobodyElseAsksIsRefusedAndBenchesNobody(t *testing.T) {
	for _, accounts := range []int{2, 3, 6} {
		t.Run(fmt.Sprint(accounts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, six()[:accounts]...)
				w.renew()
				for i := range 5 {
					d, _ := w.request("r", "tool", "/organizations/x", always(401))
					if i == 0 && d.Action != tokenstore.Refuse {
						t.Errorf("request %d: %s", i, d.Action)
					}
					time.Sleep(5 * time.Second)
				}
				if n := w.driver.Calls(); n > accounts {
					t.Errorf("%d refreshes", n)
				}
				w.benign()
			})
		})
	}
}

func TestARequestKnownToBeGuiltyGetsTheProvidersAnswerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		for i := range 10 {
			w.good("honest")
			d, _ := w.request("r", "tool", "/organizations/x", always(401))
			if d.Action != tokenstore.Pass {
				t.Errorf("request %d: %s", i, d.Action)
			}
			time.Sleep(5 * time.Second)
		}
	})
}

func TestAnAmbiguousAccountPresentsNoSpentTokenForManyBadPathsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := ambiguous(t)
		for range 30 {
			w.good("honest")
			w.concurrently(5, "r", "tool", 10*time.Millisecond)
			time.Sleep(time.Second)
		}
		if st := w.status("a"); st.State != tokenstore.StateAmbiguous || w.driver.Calls() != 1 {
			t.Errorf("it is %s after %d refreshes", st.State, w.driver.Calls())
		}
	})
}

func TestARevokedTokenWhoseAccountWasRefreshedInVainIsAvoidedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("b"))
		w.renew()
		for range 20 {
			w.good("honest")
		}
		for i := 0; w.driver.Calls() < 2 && i < 50; i++ { // a refresh of each
			w.request("r", "tool", fmt.Sprint("/organizations/", i), always(401))
		}
		for range 20 {
			w.good("honest")
		}
		if n := w.driver.Calls(); n != 2 {
			t.Fatalf("%d refreshes, want one of each account", n)
		}
		gen := w.status("a").Generation
		extra := 0
		for range 100 { // one client, one path
			_, n := w.request("r", "honest", "/chat", func(p tokenstore.Pick) tokenstore.Response {
				if p.Account == "a" && p.Generation == gen {
					return answer(401)
				}
				return answer(200)
			})
			extra += n - 1
			time.Sleep(500 * time.Millisecond)
		}
		if extra > 3 {
			t.Errorf("%d attempts were lost on the revoked token", extra)
		}
		time.Sleep(time.Minute)
		if st := w.status("a"); st.Generation == gen {
			t.Error("it was not refreshed")
		}
	})
}

func TestANewKeyThatIsRefusedIsNotHealthyForItsPredecessorsSake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		static := func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} }
		w := newStore(t, Account("a", static), Account("b", inPool("spare")))
		w.good("honest")
		edit(t, w.memory, "a", func(r *tokenstore.Record) { r.AccessToken = tokenstore.NewSecret("mistyped") })
		time.Sleep(time.Second)
		for i := range 2 {
			w.report(w.ask("once", fmt.Sprint("c", i), "/chat"), answer(401), nil)
		}
		if st := w.status("a"); st.State != tokenstore.StateCooling {
			t.Errorf("it is %s", st.State)
		}
	})
}

func TestADeadKeyThatFewRequestsMeetIsBenchedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		static := func(r *tokenstore.Record) { r.RefreshToken = tokenstore.Secret{} }
		w := newStore(t, Account("dead", static), Account("fine"))
		says := func(p tokenstore.Pick) tokenstore.Response {
			if p.Account == "dead" {
				return answer(401)
			}
			return answer(200)
		}
		for i := range 1000 {
			w.request("r", fmt.Sprint("c", i%7), "/chat", says)
			time.Sleep(time.Second)
		}
		if st := w.status("dead"); st.State != tokenstore.StateCooling {
			t.Errorf("it is %s", st.State)
		}
		time.Sleep(11 * time.Minute)
		for i := range 20 {
			w.request("r", fmt.Sprint("c", i%7), "/chat", always(200))
		}
		if st := w.status("dead"); st.State != tokenstore.StateActive {
			t.Errorf("when it is accepted again it is %s", st.State)
		}
	})
}

func TestAGuiltyRequestToOnePoolIsNotGuiltyAtAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"), Account("ring", inPool("ring")))
		w.good("honest")
		w.request("r", "proxy", "/chat", always(401))
		w.request("rr", "proxy", "/chat", always(200))
		revoked := w.status("ring").Generation
		d, _ := w.request("rr", "proxy", "/chat", func(p tokenstore.Pick) tokenstore.Response {
			if p.Generation == revoked {
				return answer(401)
			}
			return answer(200)
		})
		if n := w.status("ring").Generation; d.Action != tokenstore.Pass || d.Verdict.Class != tokenstore.ClassOK ||
			n == revoked {
			t.Errorf("%s %s, generation %d", d.Action, d.Verdict.Class, n)
		}
	})
}

func TestABadRequestsRefreshWhoseAnswerIsLostIsNotMadeAgainForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("a"))
		w.driver.OnAnswer = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshUnknown, Status: 502}
		}
		w.renew()
		w.good("honest")
		w.request("r", "tool", "/organizations/x", always(401))
		for range 30 {
			time.Sleep(10 * time.Second)
			w.good("honest")
		}
		if n := w.driver.MostSpent(); n != 1 {
			t.Errorf("its refresh token was presented %d times", n)
		}
	})
}
