package tokenstore_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/tokenstoretest"
)

// observed is a store whose log is kept.
func observed(t *testing.T, accounts ...given) (*world, *observer.ObservedLogs) {
	t.Helper()
	core, log := observer.New(zapcore.DebugLevel)
	m, d, reg := tokenstoretest.NewMemory(), tokenstoretest.NewDriver(), prometheus.NewRegistry()
	put(t, m, accounts...)
	s, err := tokenstore.New(testConfig(d), m, tokenstore.NewMetrics(reg, "memory", true), zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	synctest.Wait()
	return &world{Store: s, t: t, memory: m, driver: d, reg: reg}, log
}

// entryOf is the first record of an event.
func entryOf(t *testing.T, log *observer.ObservedLogs, event string) (observer.LoggedEntry, map[string]any) {
	t.Helper()
	found := log.FilterField(zap.String("event", event)).All()
	if len(found) == 0 {
		t.Fatalf("no event %s in %v", event, log.All())
	}
	return found[0], found[0].ContextMap()
}

func TestEventsOfTheResponsePathNameRequestAndAttemptInASentence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := observed(t, Account("a"), Account("b"))
		ask := func(trail *tokenstore.Trail) tokenstore.Pick {
			p, err := w.Pick(
				t.Context(),
				tokenstore.PickRequest{Route: "r", RequestID: "req-1", Client: "c", Path: "/x", Trail: trail},
			)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		d := w.report(ask(nil), answer(401), nil)
		d = w.report(ask(d.Trail), answer(429), d.Trail)
		if d.Action != tokenstore.Retry {
			t.Fatal(d.Action)
		}
		ask(d.Trail)
		if _, err := w.Pick(t.Context(), tokenstore.PickRequest{Route: "nowhere", RequestID: "req-1"}); err == nil {
			t.Fatal("picked")
		}
		for event, attempt := range map[string]int64{
			"upstream_classified": 1, "token_expired_detected": 1, "retry_decided": 1, "cooldown_set": 2, "failover_decided": 3, "request_refused": 1,
		} {
			e, fields := entryOf(t, log, event)
			if event != "request_refused" && (fields["account"] == nil || fields["provider"] != "p") {
				t.Errorf("%s is about account %v of provider %v", event, fields["account"], fields["provider"])
			}
			if fields["request_id"] != "req-1" || fields["attempt"] != attempt {
				t.Errorf(
					"%s is about request %v, attempt %v; want req-1, %d",
					event,
					fields["request_id"],
					fields["attempt"],
					attempt,
				)
			}
			if !strings.Contains(e.Message, " ") || e.Message == event {
				t.Errorf("%s says %q", event, e.Message)
			}
		}
		if e, _ := entryOf(t, log, "upstream_classified"); e.Message != "the provider refused the token" {
			t.Errorf("a refused token is told as %q", e.Message)
		}
	})
}

func TestWhatNeedsAHumanIsAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := observed(t, Account("a"))
		w.driver.OnRefresh = refusedForGood
		w.force("a", tokenstore.Failed)
		for _, event := range []string{"account_quarantined", "refresh_failed"} {
			if e, _ := entryOf(t, log, event); e.Level != zapcore.WarnLevel {
				t.Errorf("%s is told as %s", event, e.Level)
			}
		}
	})
}

// A name in the source that has no sentence would be logged as a bare word.
func TestEveryEventHasASentence(t *testing.T) {
	words, err := os.ReadFile("eventwords.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	keepers, err := filepath.Glob("rotation/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, keepers...)
	named := regexp.MustCompile(`(?:\.event|\.eventOf|\.tell|\.Event|committed)\((?:a, e, waits, j, )?"([a-z_]+)"`)
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			seen++
			if !strings.Contains(string(words), `"`+m[1]+`":`) {
				t.Errorf("%s: the event %s has no sentence in eventwords.go", file, m[1])
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d events were found: does the expression still fit the source?", seen)
	}
	classes := regexp.MustCompile(`(?m)^\tverdict\.Class\w+: +"`).FindAllString(string(words), -1)
	if len(classes) != len(tokenstore.Classes()) {
		t.Errorf("%d classes of %d have a sentence", len(classes), len(tokenstore.Classes()))
	}
}
