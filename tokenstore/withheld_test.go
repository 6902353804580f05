package tokenstore_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// failing is a backend in memory whose reads of account bad fail with err while on.
func failing(err error) (m *tokenstoretest.Memory, on *atomic.Bool) {
	m, on = tokenstoretest.NewMemory(), new(atomic.Bool)
	m.Before = func(op string, id tokenstore.AccountID) error {
		if op == "load" && id == "bad" && on.Load() {
			return err
		}
		return nil
	}
	return m, on
}

var errDenied = fmt.Errorf("the policy lacks something: %w", tokenstore.ErrWithheld)

func TestAWithheldRecordStopsNoOtherAndIsAdoptedWhenItCanBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, on := failing(errDenied)
		put(t, m, Account("good"), Account("bad"))
		on.Store(true)
		w := open(t, m, m, tokenstoretest.NewDriver())
		if st := w.status("bad"); st.State != tokenstore.StateConfigError || !strings.Contains(st.Reason, "policy lacks") {
			t.Errorf("it is %s: %s", st.State, st.Reason)
		}
		if p := w.pick("r", nil); p.Account != "good" || len(w.Degraded()) != 0 {
			t.Errorf("picked %s, degraded: %v", p.Account, w.Degraded())
		}
		on.Store(false)
		time.Sleep(11 * time.Second)
		if st := w.status("bad"); st.State != tokenstore.StateActive {
			t.Errorf("it can be read and is %s: %s", st.State, st.Reason)
		}
	})
}

func TestAnAccountWhoseRecordIsWithheldLaterGoesOnFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, on := failing(errDenied)
		put(t, m, Account("bad"))
		w := open(t, m, m, tokenstoretest.NewDriver())
		on.Store(true)
		if _, err := m.CompareAndSwap(t.Context(), "bad", Account("bad", inPool("spare")).record, w.status("bad").Version); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Minute) // past a sweep
		if p := w.pick("r", nil); p.Account != "bad" {
			t.Errorf("picked %q", p.Account)
		}
	})
}

func TestAChangeThatCouldNotBeReadIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, on := failing(errDown)
		put(t, m, Account("bad"))
		w := open(t, m, m, tokenstoretest.NewDriver())
		on.Store(true)
		paused := Account("bad").record
		paused.State = tokenstore.Paused
		if _, err := m.CompareAndSwap(t.Context(), "bad", paused, w.status("bad").Version); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		on.Store(false)
		time.Sleep(11 * time.Second)
		if st := w.status("bad"); st.State != tokenstore.StatePaused {
			t.Errorf("the change was missed: it is %s", st.State)
		}
	})
}

func TestAStoreIsNotReadyWhileTheBackendGoesAwayInTheMiddleOfTheLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, on := failing(errDown)
		put(t, m, Account("good"), Account("bad"))
		on.Store(true)
		w := open(t, m, m, tokenstoretest.NewDriver(), func(c *tokenstore.Config) { c.WaitForStore = true })
		time.Sleep(5 * time.Second)
		if len(w.NotReady()) == 0 {
			t.Error("ready without an account that the store has")
		}
		on.Store(false)
		time.Sleep(31 * time.Second)
		if w.status("bad").State != tokenstore.StateActive || len(w.NotReady()) != 0 {
			t.Errorf("not ready: %v", w.NotReady())
		}
	})
}
