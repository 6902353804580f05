package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

// slowly refreshes after a delay on the bubble's clock, or ends with its context.
func slowly(d time.Duration) func(context.Context, tokenstore.AccountID, bool) (tokenstore.RefreshResult, error) {
	return func(ctx context.Context, id tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
		select {
		case <-time.After(d):
			return tokenstore.RefreshResult{ID: id, Outcome: tokenstore.Refreshed}, nil
		case <-ctx.Done():
			return tokenstore.RefreshResult{}, context.Cause(ctx)
		}
	}
}

func many(n int) []tokenstore.AccountStatus {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("a%03d", i))
	}
	return accountsNamed(ids...)
}

const refreshAll = `{"action":"refresh-all"}`

func TestRefreshAllAnswersResultsInOrderWithASummary(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("c", "a", "p", "gone")}
	f.script = func(_ context.Context, id tokenstore.AccountID, _ bool) (tokenstore.RefreshResult, error) {
		switch id {
		case "p":
			return tokenstore.RefreshResult{}, fmt.Errorf("%w: p", tokenstore.ErrPaused)
		case "gone":
			return tokenstore.RefreshResult{}, fmt.Errorf("%w: gone", tokenstore.ErrUnknownAccount)
		case "c":
			return tokenstore.RefreshResult{
				ID:      id,
				Outcome: tokenstore.Failed,
				Class:   tokenstore.RefreshPermanent,
				Status:  400,
				Error:   "invalid_grant",
			}, nil
		}
		return tokenstore.RefreshResult{ID: id, Outcome: tokenstore.Fresh}, nil
	}
	s := server(t, f)
	defer s.jobs.stop()
	a := send(s, "POST", refreshPath, refreshAll)
	got := decode[api.Job](t, a)
	var order []string
	for _, r := range got.Results {
		order = append(order, r.ID+" "+r.Result)
	}
	if diff := cmp.Diff([]string{"a fresh", "c failed", "gone skipped", "p skipped"},
		order); diff != "" || a.status != 200 ||
		!got.Done {
		t.Error(a.status, got.Done, diff)
	}
	if diff := cmp.Diff(api.Summary{"total": 4, "fresh": 1, "failed": 1, "skipped": 2}, got.Summary); diff != "" {
		t.Error("summary:", diff)
	}
}

func TestRefreshAllPassesForceOn(t *testing.T) {
	f := &fakeTokens{accounts: accountsNamed("a", "b")}
	s := server(t, f)
	defer s.jobs.stop()
	send(s, "POST", refreshPath, `{"action":"refresh-all","force":true}`)
	if got := f.asked(); len(got) != 2 || !got[0].force || !got[1].force {
		t.Errorf("calls: %v", got)
	}
}

func TestRefreshAllWithoutAccountsIsDone(t *testing.T) {
	s := server(t, &fakeTokens{})
	defer s.jobs.stop()
	a := send(s, "POST", refreshPath, refreshAll)
	if got := decode[api.Job](t, a); a.status != 200 || got.Results == nil || got.Summary["total"] != 0 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestRefreshAllThatTakesLongerThanWaitGoesOnAsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// the 17th begins when one of 16 ends
		s := server(t, &fakeTokens{accounts: many(17), script: slowly(20 * time.Second)})
		defer s.jobs.stop()
		began := time.Now()
		a := send(s, "POST", refreshPath, refreshAll)
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("answered after %s, want 30s", took)
		}
		job := decode[struct {
			ID string `json:"jobId"`
		}](t, a)
		location := a.header.Get("Location")
		if a.status != http.StatusAccepted || location != "/api/admin/jobs/"+job.ID || job.ID == "" {
			t.Fatalf("got %d %s Location %s", a.status, a.body, location)
		}
		if got := decode[api.Job](t,
			send(s, "GET", location, "")); got.Done || len(got.Results) != 16 || got.Summary["total"] != 17 ||
			got.Summary["refreshed"] != 16 {
			t.Errorf("progress: %+v", got.Summary)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := decode[api.Job](t, send(s, "GET", location, "")); !got.Done || len(got.Results) != 17 {
			t.Errorf("at the end: %+v", got.Summary)
		}
	})
}

func TestWaitZeroAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, &fakeTokens{accounts: many(1), script: slowly(time.Second)})
		defer s.jobs.stop()
		began := time.Now()
		if a := send(s, "POST", refreshPath+"?wait=0s", refreshAll); a.status != http.StatusAccepted ||
			time.Since(began) != 0 {
			t.Errorf("got %d after %s", a.status, time.Since(began))
		}
	})
}

func TestAJobGoesOnWhenTheCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, &fakeTokens{accounts: many(3), script: slowly(10 * time.Second)})
		defer s.jobs.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		send(s, "POST", refreshPath, refreshAll, func(r *http.Request) { *r = *r.WithContext(ctx) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := s.jobs.last.view().Summary; got["refreshed"] != 3 {
			t.Errorf("summary: %v", got)
		}
	})
}

func TestRefreshAllRunsSixteenAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		f := &fakeTokens{accounts: many(50)}
		f.script = func(ctx context.Context, id tokenstore.AccountID, force bool) (tokenstore.RefreshResult, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			return slowly(time.Second)(ctx, id, force)
		}
		s := server(t, f)
		defer s.jobs.stop()
		began := time.Now()
		send(s, "POST", refreshPath, refreshAll)
		if took := time.Since(began); most.Load() != 16 || took != 4*time.Second {
			t.Errorf("at most %d at a time, in %s; want 16 in 4s", most.Load(), took)
		}
	})
}

func TestASecondRefreshAllJoinsTheRunningOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTokens{accounts: many(2), script: slowly(10 * time.Second)}
		s := server(t, f)
		defer s.jobs.stop()
		first := s.jobs.start(false)
		if second := s.jobs.start(false); second != first {
			t.Error("a second job was started while one runs")
		}
		forced := s.jobs.start(true)
		if forced == first {
			t.Error("a forced refresh joined one that leaves fresh tokens alone")
		}
		if s.jobs.start(false) != forced || s.jobs.start(true) != forced {
			t.Error("a call did not join the forced job, which does all it wants")
		}
		<-first.done
		<-forced.done
		if len(f.asked()) != 4 {
			t.Errorf("calls: %v", f.asked())
		}
		if again := s.jobs.start(false); again == first || again == forced {
			t.Error("a call joined a job that had ended")
		}
	})
}

func TestAnAccountWithoutResultInTimeDoesNotHoldTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, &fakeTokens{accounts: many(1), script: slowly(time.Hour)})
		defer s.jobs.stop()
		began := time.Now()
		j := s.jobs.start(false)
		<-j.done
		r := j.results[0]
		if took := time.Since(began); took != accountLimit || r.Result != string(tokenstore.Failed) || !r.Retryable ||
			!strings.Contains(r.Error, "in time") {
			t.Errorf("after %s: %+v", took, r)
		}
	})
}

func TestAJobOfManyHangingAccountsEndsInHalfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 25 rounds of two minutes without the bound
		s := server(t, &fakeTokens{accounts: many(400), script: slowly(time.Hour)})
		defer s.jobs.stop()
		began := time.Now()
		j := s.jobs.start(false)
		<-j.done
		if took := time.Since(began); took != jobWithin || len(j.results) != 400 {
			t.Errorf("%d results after %s", len(j.results), took)
		}
	})
}

func TestFinishedJobsAreKeptForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, &fakeTokens{})
		defer s.jobs.stop()
		old := s.jobs.start(false)
		<-old.done
		time.Sleep(59 * time.Minute)
		<-s.jobs.start(false).done
		if a := send(s, "GET", "/api/admin/jobs/"+old.id, ""); a.status != 200 {
			t.Errorf("after 59 minutes: %d", a.status)
		}
		time.Sleep(2 * time.Minute)
		<-s.jobs.start(false).done
		wantProblem(t, send(s, "GET", "/api/admin/jobs/"+old.id, ""), http.StatusNotFound, "unknown-job")
	})
}

func TestOnlyTheNewestHundredJobsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, &fakeTokens{})
		defer s.jobs.stop()
		var all []*job
		for range 130 {
			time.Sleep(time.Second)
			j := s.jobs.start(false)
			<-j.done
			all = append(all, j)
		}
		if len(s.jobs.byID) != jobsKept {
			t.Errorf("%d jobs are kept", len(s.jobs.byID))
		}
		for i, j := range all {
			if kept := s.jobs.get(j.id) != nil; kept != (i >= 30) {
				t.Errorf("job %d of 130: kept %v", i+1, kept)
			}
		}
	})
}

func TestStoppingEndsARunningJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(t, &fakeTokens{accounts: many(3), script: slowly(time.Hour)})
		j := s.jobs.start(false)
		synctest.Wait()
		began := time.Now()
		s.jobs.stop()
		if j.running() || time.Since(began) != 0 {
			t.Errorf("running %v after %s", j.running(), time.Since(began))
		}
	})
}
