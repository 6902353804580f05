package tokenstore_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestARefreshTokenThatAnotherAccountHasIsNotSpentAndTheOwnerGoesOn(t *testing.T) {
	for name, how := range pastes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"), Account("b"))
				w.renew()
				edit(t, w.memory, "b", func(r *tokenstore.Record) { how("b", r, "rt-of-a") })
				time.Sleep(time.Minute)
				if st := w.status("b"); st.State != tokenstore.StateConfigError || !st.Routable ||
					!strings.Contains(st.Reason, "that of account a") {
					t.Errorf("b is %s, routable %t: %s", st.State, st.Routable, st.Reason)
				}
				if st := w.status("a"); st.State != tokenstore.StateActive || w.driver.Calls() != 0 {
					t.Errorf("a is %s after %d grants: %s", st.State, w.driver.Calls(), st.Reason)
				}
				time.Sleep(time.Hour) // both are renewed, b with its former one
				for _, id := range []tokenstore.AccountID{"a", "b"} {
					if st := w.status(id); st.State != tokenstore.StateActive || st.Generation < 2 {
						t.Errorf("%s is %s, generation %d: %s", id, st.State, st.Generation, st.Reason)
					}
				}
				if w.driver.MostSpent() > 1 {
					t.Error("a refresh token was spent twice")
				}
			})
		})
	}
}

func TestAnAccountThatIsNewWithAnothersRefreshTokenWaitsUntilItIsFree(t *testing.T) {
	for name, free := range map[string]func(t *testing.T, w *world){
		"the owner is removed": func(t *testing.T, w *world) {
			_, v, _ := w.memory.Load(t.Context(), "a")
			if err := w.memory.Delete(t.Context(), "a", v); err != nil {
				t.Fatal(err)
			}
		},
		"the owner gets another": func(t *testing.T, w *world) {
			edit(t, w.memory, "a", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("another") })
			time.Sleep(time.Second)
			w.force("a", tokenstore.Refreshed) // until then the shared one is its former one
		},
		"the newcomer gets another": func(t *testing.T, w *world) {
			edit(t, w.memory, "b", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("another") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"))
				b := Account("b")
				b.record.RefreshToken = tokenstore.NewSecret("rt-of-a")
				put(t, w.memory, b)
				time.Sleep(time.Second)
				if st := w.status("b"); st.State != tokenstore.StateConfigError || !st.Routable {
					t.Errorf("b is %s, routable %t: %s", st.State, st.Routable, st.Reason)
				}
				w.force("b", tokenstore.Failed)
				free(t, w)
				time.Sleep(time.Second)
				if st := w.status("b"); st.State == tokenstore.StateConfigError {
					t.Errorf("b is %s: %s", st.State, st.Reason)
				}
			})
		})
	}
}

func TestARefreshTokenThatItsOwnerHasExchangedIsNotPresentedByAnother(t *testing.T) {
	for name, late := range map[string]bool{"while it was shared": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStore(t, Account("a"), Account("b"))
				w.renew()
				paste := func() {
					edit(t, w.memory, "b", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("rt-of-a") })
					time.Sleep(time.Second)
				}
				if !late {
					paste()
				}
				w.force("a", tokenstore.Refreshed)
				if late {
					paste()
				}
				time.Sleep(10 * time.Minute)
				if st := w.status(
					"b",
				); st.State != tokenstore.StateConfigError || !strings.Contains(st.Reason, "was that of account a, which has exchanged it") ||
					w.driver.MostSpent() > 1 {
					t.Errorf("b is %s: %s; a token was spent %d times", st.State, st.Reason, w.driver.MostSpent())
				}
				edit(t, w.memory, "b", func(r *tokenstore.Record) { r.RefreshToken = tokenstore.NewSecret("good") })
				time.Sleep(time.Second)
				if st := w.status("b"); st.State != tokenstore.StateActive {
					t.Errorf("in the end b is %s: %s", st.State, st.Reason)
				}
			})
		})
	}
}

func TestAtTheStartTheAccountThatGotTheTokenInARefreshOwnsIt(t *testing.T) {
	for _, owner := range []tokenstore.AccountID{"a", "b", ""} {
		synctest.Test(t, func(t *testing.T) {
			m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
			for _, id := range []string{"a", "b"} {
				x := Account(id)
				x.record.RefreshToken = tokenstore.NewSecret("shared")
				if x.id == owner {
					x.record.Rotation.Last = &tokenstore.Outcome{
						Result:      "succeeded",
						Fingerprint: tokenstore.Fingerprint(x.id, x.record.RefreshToken),
					}
				}
				put(t, m, x)
			}
			w := open(t, m, m, d)
			want := owner
			if want == "" {
				want = "a"
			}
			for _, id := range []tokenstore.AccountID{"a", "b"} {
				if st := w.status(id); (st.State == tokenstore.StateActive) != (id == want) {
					t.Errorf("the owner is %q: %s is %s: %s", want, id, st.State, st.Reason)
				}
			}
		})
	}
}

func TestWhereNothingIsSpentARefreshTokenMayHaveTwoAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		d.Policy = tokenstore.ReplayNoRotation
		b := Account("b")
		b.record.RefreshToken = tokenstore.NewSecret("rt-of-a")
		put(t, m, Account("a"), b)
		if st := open(t, m, m, d).status("b"); st.State != tokenstore.StateActive {
			t.Errorf("b is %s: %s", st.State, st.Reason)
		}
	})
}
