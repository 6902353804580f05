package admin

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/tokenward/tokenward/tokenstore"
)

// problem is RFC 9457's problem detail. Its type is stable; detail says what was tried, what is wrong, what to do.
type problem struct {
	Type           string                  `json:"type"`
	Title          string                  `json:"title"`
	Status         int                     `json:"status"`
	Detail         string                  `json:"detail"`
	Class          tokenstore.RefreshClass `json:"class,omitempty"`
	UpstreamStatus int                     `json:"upstreamStatus,omitempty"`
	Retryable      *bool                   `json:"retryable,omitempty"`
	Result         *Result                 `json:"result,omitempty"`
}

func (p problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, p.Status, p)
}

func fail(w http.ResponseWriter, status int, kind, detail string) {
	problem{Type: "urn:tokenward:" + kind, Title: http.StatusText(status), Status: status, Detail: detail}.write(w)
}

// failError is the one place that maps the domain's errors to the wire.
func failError(w http.ResponseWriter, err error, id tokenstore.AccountID) {
	switch {
	case errors.Is(err, tokenstore.ErrUnknownAccount):
		fail(w, http.StatusNotFound, "unknown-account", "refreshing account "+string(id)+": there is no such account: see GET /api/admin/oauth/refresh for all ids")
	case errors.Is(err, tokenstore.ErrPaused):
		fail(w, http.StatusConflict, "account-paused", "refreshing account "+string(id)+": "+err.Error())
	default:
		fail(w, http.StatusServiceUnavailable, "not-finished", "refreshing account "+string(id)+": no result in time; the refresh goes on: ask for its status")
	}
}

func write(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
