package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// between is a way to Vault on which answers can go wrong.
type between struct {
	*httptest.Server
	fault atomic.Pointer[fault]
}

// fault is what happens to a request: it never arrives and is answered with status and body, arrives late, or its
// answer is lost.
type fault struct {
	match  func(*http.Request) bool // nil: every request
	status int
	body   string
	delay  time.Duration
	lose   bool
	met    atomic.Int64
}

// throughFaults puts a way with faults between the gateways that are made from now on and this Vault.
func (v *vaulted) throughFaults(t *testing.T) *between {
	t.Helper()
	target, err := url.Parse(v.Address)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport = &http.Transport{MaxIdleConnsPerHost: 16}
	b := &between{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := b.fault.Load()
		if f == nil || f.match != nil && !f.match(r) {
			forward.ServeHTTP(w, r)
			return
		}
		f.met.Add(1)
		switch {
		case f.status != 0:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(f.status)
			_, _ = w.Write([]byte(f.body))
		case f.lose:
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			time.Sleep(f.delay)
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(b.Close)
	v.store = strings.Replace(v.store, v.Address, b.URL, 1)
	return b
}

// writesTo matches the writes of an account's record.
func writesTo(account string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (r.Method == http.MethodPut || r.Method == http.MethodPost) &&
			strings.HasSuffix(r.URL.Path, "/data/"+accountsPath+account)
	}
}
