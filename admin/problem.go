package admin

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

func writeProblem(w http.ResponseWriter, p api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, p.Status, p)
}

func fail(w http.ResponseWriter, status int, kind, detail string) {
	writeProblem(w, api.Problem{
		Type: "urn:tokenward:" + kind, Title: http.StatusText(status), Status: status, Detail: detail,
	})
}

// failError is the one place that maps the domain's errors to the wire.
func failError(w http.ResponseWriter, err error, id tokenstore.AccountID) {
	switch {
	case errors.Is(err, tokenstore.ErrUnknownAccount):
		fail(w, http.StatusNotFound, "unknown-account",
			"refreshing account "+string(id)+": there is no such account: see GET /api/admin/oauth/refresh for all ids")
	case errors.Is(err, tokenstore.ErrPaused):
		fail(w, http.StatusConflict, "account-paused", "refreshing account "+string(id)+": "+err.Error())
	default:
		fail(w, http.StatusServiceUnavailable, "not-finished",
			"refreshing account "+string(id)+": no result in time; the refresh goes on: ask for its status")
	}
}

func write(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
