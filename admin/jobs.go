package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

const (
	jobsKept     = 100
	jobKeptFor   = time.Hour
	jobWithin    = 30 * time.Minute
	jobParallel  = 16
	accountLimit = 2 * time.Minute
)

// jobs runs refresh-all, one at a time: who asks while one runs joins it.
type jobs struct {
	tokens Tokens
	life   context.Context // ends at Stop
	end    context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex // guards what follows
	byID map[string]*job
	last *job
}

type job struct {
	id    string
	force bool
	total int
	done  chan struct{}

	mu      sync.Mutex // guards results and ended
	results []api.Result
	ended   time.Time
}

func newJobs(t Tokens) *jobs {
	j := &jobs{tokens: t, byID: map[string]*job{}}
	j.life, j.end = context.WithCancel(context.Background())
	return j
}

func (js *jobs) start(force bool) *job {
	js.mu.Lock()
	defer js.mu.Unlock()
	if l := js.last; l != nil && l.running() && (l.force || !force) {
		return l
	}
	js.forget()
	ids := js.tokens.Statuses()
	j := &job{id: rand.Text(), force: force, total: len(ids), done: make(chan struct{})}
	js.byID[j.id], js.last = j, j
	js.wg.Go(func() { js.run(j, ids) })
	return j
}

func (js *jobs) run(j *job, accounts []tokenstore.AccountStatus) {
	ctx, cancel := context.WithTimeout(js.life, jobWithin)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(jobParallel)
	for _, a := range accounts {
		g.Go(func() error {
			one, cancel := context.WithTimeout(ctx, accountLimit)
			defer cancel()
			_, grave := a.ForceRisk(time.Now()) // what may kill an account is forced by name only
			r, err := js.tokens.RefreshAccount(one, a.ID, j.force && !grave)
			j.add(resultOf(a.ID, r, err))
			return nil
		})
	}
	_ = g.Wait()
	j.mu.Lock()
	j.ended = time.Now()
	j.mu.Unlock()
	close(j.done)
}

func resultOf(id tokenstore.AccountID, r tokenstore.RefreshResult, err error) api.Result {
	switch {
	case err == nil:
		return resultView(r)
	case errors.Is(err, tokenstore.ErrPaused), errors.Is(err, tokenstore.ErrUnknownAccount):
		return api.Result{ID: string(id), Result: string(tokenstore.Skipped), Error: err.Error()}
	}
	return api.Result{
		ID: string(id), Result: string(tokenstore.Failed), Retryable: true, Error: "no result in time; the refresh goes on",
	}
}

func (j *job) add(r api.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.results = append(j.results, r)
}

func (j *job) running() bool {
	select {
	case <-j.done:
		return false
	default:
		return true
	}
}

func (j *job) view() api.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	results := slices.Clone(j.results)
	slices.SortFunc(results, func(a, b api.Result) int { return strings.Compare(a.ID, b.ID) })
	if results == nil {
		results = []api.Result{}
	}
	sum := summarise(results, func(r api.Result) string { return r.Result })
	sum["total"] = j.total
	return api.Job{Done: !j.ended.IsZero(), ID: j.id, Results: results, Summary: sum}
}

func (js *jobs) get(id string) *job {
	js.mu.Lock()
	defer js.mu.Unlock()
	return js.byID[id]
}

// forget drops jobs that are too old, and the oldest when there are too many. Running jobs stay.
func (js *jobs) forget() {
	var ended []*job
	for _, j := range js.byID {
		if !j.running() {
			ended = append(ended, j)
		}
	}
	slices.SortFunc(ended, func(a, b *job) int { return a.ended.Compare(b.ended) })
	for _, j := range ended {
		if time.Since(j.ended) > jobKeptFor || len(js.byID) >= jobsKept {
			delete(js.byID, j.id)
		}
	}
}

func (js *jobs) stop() {
	js.end()
	js.wg.Wait()
}
