package tokenstore_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestAnAccountAtItsLimitSaysWhichAndUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStore(t, Account("rate", func(r *tokenstore.Record) { r.Limits.RPM = 1 }),
			Account("many", inPool("ring"), func(r *tokenstore.Record) { r.Limits.Concurrency = 1 }))
		w.pick("r", nil).Release()
		w.pick("rr", nil)
		time.Sleep(20 * time.Second)
		for id, want := range map[tokenstore.AccountID]string{"rate": "limits.rpm: 1,", "many": "limits.concurrency: 1,"} {
			st := w.status(id)
			if told := strings.HasPrefix(st.Reason, "at its limit "+want); st.State != tokenstore.StateActive || !st.Routable ||
				!told {
				t.Errorf("%s is %s, routable %t: %s", id, st.State, st.Routable, st.Reason)
			}
		}
		room := time.Now().Add(40 * time.Second).UTC().Format(time.RFC3339)
		if got := w.status("rate").Reason; !strings.HasSuffix(got, "room again at "+room+" (in 40s)") {
			t.Error(got)
		}
		time.Sleep(40 * time.Second)
		if st := w.status("rate"); st.Full != nil || st.Reason != "" {
			t.Errorf("a minute later: %+v", st)
		}
	})
}

func TestTheLogOfAStateChangeSaysWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := tokenstoretest.NewMemory(), tokenstoretest.NewDriver()
		put(t, m, Account("a"), Account("b", inPool("ring")))
		core, log := observer.New(zap.InfoLevel)
		metrics := tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true)
		s, err := tokenstore.New(testConfig(d), m, metrics, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Stop(context.Background()) }()
		synctest.Wait()
		w := &world{Store: s, t: t, memory: m, driver: d}
		w.report(w.pick("rr", nil), answer(429), nil)
		d.OnRefresh = func(context.Context, tokenstore.Record) error {
			return &tokenstore.RefreshError{Class: tokenstore.RefreshPermanent, Status: 400, Code: "invalid_grant"}
		}
		_, _ = s.RefreshAccount(t.Context(), "a", true)
		synctest.Wait()
		events := map[string]tokenstore.AccountID{"cooldown_set": "b", "account_quarantined": "a", "refresh_failed": "a"}
		for event, id := range events {
			said := log.FilterField(zap.String("event", event)).All()
			if len(said) != 1 {
				t.Fatalf("%s: %d times", event, len(said))
			}
			if got, want := said[0].ContextMap()["advice"], w.status(id).Reason; got != want || want == "" {
				t.Errorf("%s says %q, the status %q", event, got, want)
			}
		}
	})
}
