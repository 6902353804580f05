package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore"
)

const (
	maxBody     = 64 << 10
	defaultWait = 30 * time.Second
	mostWait    = 5 * time.Minute
)

// refreshRequest is the body of POST /api/admin/oauth/refresh.
type refreshRequest struct {
	Action    string               `json:"action"`
	AccountID tokenstore.AccountID `json:"accountId"`
	Force     bool                 `json:"force"`
}

func (s *Server) getRefresh(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	accounts := []Account{}
	for _, st := range s.tokens.Statuses() {
		accounts = append(accounts, accountView(st, now))
	}
	write(w, http.StatusOK, map[string]any{"accounts": accounts, "summary": summarise(accounts, func(a Account) string { return string(a.State) })})
}

func (s *Server) postRefresh(w http.ResponseWriter, r *http.Request) {
	var q refreshRequest
	if !readBody(w, r, &q, `{"action":"refresh-single","accountId":"claude-1"}`) {
		return
	}
	switch {
	case q.Action == "refresh-single" && q.AccountID == "":
		fail(w, http.StatusBadRequest, "bad-request", "refresh-single: accountId is missing: name the account")
	case q.Action == "refresh-single":
		s.refreshSingle(w, r, q)
	case q.Action == "refresh-all" && q.AccountID != "":
		fail(w, http.StatusBadRequest, "bad-request", "refresh-all takes no accountId: leave it out, or use refresh-single")
	case q.Action == "refresh-all":
		s.refreshAll(w, r, q)
	default:
		fail(w, http.StatusBadRequest, "bad-request", "the action is missing or unknown: use refresh-single or refresh-all")
	}
}

func (s *Server) refreshSingle(w http.ResponseWriter, r *http.Request, q refreshRequest) {
	ctx, cancel := context.WithTimeout(r.Context(), mostWait)
	defer cancel()
	res, err := s.tokens.RefreshAccount(ctx, q.AccountID, q.Force)
	if err != nil {
		failError(w, err, q.AccountID)
		return
	}
	view := resultView(res)
	if res.Outcome == tokenstore.Failed {
		problem{
			Type: "urn:tokenward:refresh-failed", Title: "The refresh failed", Status: http.StatusBadGateway, Class: res.Class, UpstreamStatus: res.Status,
			Retryable: &res.Retryable, Result: &view, Detail: "refreshing account " + string(q.AccountID) + ": " + res.Error + ": " + advice(res),
		}.write(w)
		return
	}
	write(w, http.StatusOK, view)
}

func advice(r tokenstore.RefreshResult) string {
	if r.Retryable {
		return "it is tried again by itself"
	}
	if r.Class == tokenstore.RefreshPermanent {
		return "give the account a new credential with tokenward accounts add"
	}
	return "mend the configuration or the record"
}

func (s *Server) refreshAll(w http.ResponseWriter, r *http.Request, q refreshRequest) {
	wait := defaultWait
	if v := r.URL.Query().Get("wait"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > mostWait {
			fail(w, http.StatusBadRequest, "bad-request", "wait must be a duration from 0s to 5m, e.g. 30s")
			return
		}
		wait = d
	}
	j := s.jobs.start(q.Force)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-j.done:
		write(w, http.StatusOK, j.view())
	case <-t.C:
		w.Header().Set("Location", "/api/admin/jobs/"+j.id)
		write(w, http.StatusAccepted, map[string]string{"jobId": j.id})
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

// readBody decodes strict JSON; it answers 400 or 413 itself.
func readBody(w http.ResponseWriter, r *http.Request, v any, example string) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		fail(w, http.StatusRequestEntityTooLarge, "body-too-large", "the body is larger than 64 KiB: send only the documented fields")
		return false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err == nil {
		err = d.Decode(v)
	}
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is something after the JSON value")
		}
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "bad-request", "reading the body: "+strings.TrimPrefix(err.Error(), "json: ")+": send e.g. "+example)
		return false
	}
	return true
}
