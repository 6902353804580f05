package tokenstore_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

func TestLoadingManyAccountsTellsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := tokenstoretest.NewMemory()
		for i := range 160 {
			put(t, m, Account(fmt.Sprintf("a%d", i)))
		}
		m.Before = func(op string, _ tokenstore.AccountID) error {
			if op == "load" {
				time.Sleep(time.Second) // 16 at once: ten seconds in all
			}
			return nil
		}
		core, log := observer.New(zapcore.InfoLevel)
		s, err := tokenstore.New(testConfig(tokenstoretest.NewDriver()), m, tokenstore.NewMetrics(prometheus.NewRegistry(), "memory", true), zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan error)
		go func() { started <- s.Start(t.Context()) }()
		time.Sleep(5500 * time.Millisecond)
		if why := s.NotReady(); len(why) != 1 || !strings.HasPrefix(why[0], "accounts are not loaded yet: ") ||
			!strings.HasSuffix(why[0], " of 160") {
			t.Errorf("not ready: %q", why)
		}
		if err := <-started; err != nil || len(s.NotReady()) != 0 {
			t.Error(err, s.NotReady())
		}
		if n := log.FilterMessage("loading accounts").Len(); n < 2 || n > 4 {
			t.Errorf("%d lines of progress in ten seconds", n)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
