package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

const (
	defaultWait = 30 * time.Second
	mostWait    = 5 * time.Minute
)

func (s *Server) getRefresh(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	accounts := []api.Account{}
	for _, st := range s.tokens.Statuses() {
		accounts = append(accounts, accountView(st, now))
	}
	states := summarise(accounts, func(a api.Account) string { return a.State })
	write(w, http.StatusOK, api.Statuses{Accounts: accounts, Summary: states})
}

func (s *Server) postRefresh(w http.ResponseWriter, r *http.Request) {
	var q refreshRequest
	if !readBody(w, r, &q, `{"action":"refresh-single","accountId":"claude-1"}`) {
		return
	}
	switch {
	case q.Action == "refresh-single" && (q.AccountID == nil || *q.AccountID == ""):
		fail(w, http.StatusBadRequest, "bad-request", "refresh-single: accountId is missing: name the account")
	case q.Action == "refresh-single":
		s.refreshSingle(w, r, *q.AccountID, q.Force)
	case q.Action == "refresh-all" && q.AccountID != nil:
		fail(w, http.StatusBadRequest, "bad-request", "refresh-all takes no accountId: leave it out, or use refresh-single")
	case q.Action == "refresh-all":
		s.refreshAll(w, r, q.Force)
	default:
		fail(w, http.StatusBadRequest, "bad-request", "the action is missing or unknown: use refresh-single or refresh-all")
	}
}

func (s *Server) refreshSingle(w http.ResponseWriter, r *http.Request, id tokenstore.AccountID, force bool) {
	patient(w, mostWait)
	ctx, cancel := context.WithTimeout(r.Context(), mostWait)
	defer cancel()
	res, err := s.tokens.RefreshAccount(ctx, id, force)
	if err != nil {
		failError(w, err, id)
		return
	}
	view := resultView(res)
	if res.Outcome == tokenstore.Failed {
		writeProblem(w, api.Problem{
			Type: "urn:tokenward:refresh-failed", Title: "The refresh failed", Status: http.StatusBadGateway, Class: view.Class,
			UpstreamStatus: view.UpstreamStatus, Retryable: &view.Retryable, Result: &view,
			Detail: "refreshing account " + string(id) + ": " + s.said(id, res),
		})
		return
	}
	write(w, http.StatusOK, view)
}

// said is what is to be said of a refresh that failed: the sentence on the account, if that is about it.
func (s *Server) said(id tokenstore.AccountID, r tokenstore.RefreshResult) string {
	for _, st := range s.tokens.Statuses() {
		if about := st.Cause == r.Error ||
			st.Last != nil && st.Last.Error == r.Error; st.ID == id && about &&
			st.Reason != "" {
			return st.Reason
		}
	}
	switch {
	case r.Retryable:
		return r.Error + ": it is tried again by itself"
	case r.Class == tokenstore.RefreshPermanent:
		return r.Error + ": give the account a new credential with tokenward accounts add"
	}
	return r.Error + ": mend the configuration or the record"
}

func (s *Server) refreshAll(w http.ResponseWriter, r *http.Request, force bool) {
	wait := defaultWait
	if v := r.URL.Query().Get("wait"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > mostWait {
			fail(w, http.StatusBadRequest, "bad-request", "wait must be a duration from 0s to 5m, e.g. 30s")
			return
		}
		wait = d
	}
	patient(w, wait)
	j := s.jobs.start(force) //nolint:contextcheck // a job outlives its request
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-j.done:
		write(w, http.StatusOK, j.view())
	case <-t.C:
		w.Header().Set("Location", "/api/admin/jobs/"+j.id)
		write(w, http.StatusAccepted, api.JobStarted{ID: j.id})
	case <-r.Context().Done():
	}
}

func (s *Server) getJob(w http.ResponseWriter, r *http.Request) {
	j := s.jobs.get(r.PathValue("id"))
	if j == nil {
		fail(w, http.StatusNotFound, "unknown-job", "there is no such job: finished jobs are kept for an hour")
		return
	}
	write(w, http.StatusOK, j.view())
}
