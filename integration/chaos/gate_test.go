package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// call is what a request through a gate means to the refresh protocol.
type call struct {
	step    string // claim, commit, release, grant; "" for anything else
	account string
	token   string // the refresh token that a grant spends, or that a commit saves
}

// rule makes one call go wrong: before it is forwarded, or when its answer is there and not yet delivered.
type rule struct {
	step, account string
	after         bool
	act           string        // cut, refuse, delay, hold: until go is closed, and then cut
	length        time.Duration // of a delay
	hit           chan struct{} // closed when the call has got there
	release       chan struct{}
}

// gate is one replica's way to Vault or to the token endpoint.
type gate struct {
	*httptest.Server
	target  string
	replica int
	books   *ledger
	client  *http.Client

	mu    sync.Mutex // guards what follows
	rules []*rule
	down  bool // everything is answered 503
}

func newGate(target string, replica int, books *ledger) *gate {
	g := &gate{target: target, replica: replica, books: books, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}}
	g.Server = httptest.NewServer(g)
	return g
}

func (g *gate) arm(step, account string, after bool, act string, length time.Duration) *rule {
	r := &rule{
		step:    step,
		account: account,
		after:   after,
		act:     act,
		length:  length,
		hit:     make(chan struct{}),
		release: make(chan struct{}),
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = append(g.rules, r)
	return r
}

// disarm takes a rule back. It reports whether the rule was met.
func (g *gate) disarm(r *rule) bool {
	g.take(func(x *rule) bool { return x == r })
	select {
	case <-r.hit:
		return true
	default:
		return false
	}
}

func (g *gate) take(match func(*rule) bool) *rule {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, r := range g.rules {
		if match(r) {
			g.rules = append(g.rules[:i:i], g.rules[i+1:]...)
			return r
		}
	}
	return nil
}

func (g *gate) setDown(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
}

func (g *gate) isDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.down
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	came := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c := describe(r, body)
	if c.step == "commit" {
		g.books.saving(c.token)
	}
	if g.isDown() {
		http.Error(w, `{"errors":["the storm"]}`, http.StatusServiceUnavailable)
		return
	}
	meet := func(after bool) (answered bool) {
		x := g.take(func(x *rule) bool { return x.step == c.step && x.account == c.account && x.after == after })
		return x != nil && x.befall(w, r)
	}
	if meet(false) {
		return
	}
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // its sender is gone: what nobody waits for is not processed
	}
	// From here on the far side decides, whether or not the sender lives: only so is the ledger exact.
	status, header, answer, err := g.forward(r, body)
	var s *spending
	if c.step == "grant" {
		s = g.books.presented(c, g.replica, err == nil && status == 200, answer)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if meet(true) {
		return
	}
	maps.Copy(w.Header(), header)
	// Whether it is still waited for is asked before the answer: one that has read it hangs up too. An answer near the
	// asker's deadline counts as lost, since nobody here can tell.
	waits := r.Context().Err() == nil && time.Since(came) < grantTimeout-200*time.Millisecond
	if s != nil && waits {
		g.books.delivered(s, came)
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer) // a reader that went away meanwhile was killed, which the ledger learns
}

// befall does to a call what the rule says. It reports whether the call has its answer.
func (x *rule) befall(w http.ResponseWriter, r *http.Request) bool {
	close(x.hit)
	switch x.act {
	case "cut":
		panic(http.ErrAbortHandler)
	case "refuse":
		http.Error(w, `{"errors":["the storm"]}`, http.StatusServiceUnavailable)
		return true
	case "delay":
		select {
		case <-time.After(x.length):
		case <-r.Context().Done():
		}
	case "hold":
		select {
		case <-x.release:
		case <-time.After(10 * time.Second):
		}
		panic(http.ErrAbortHandler)
	}
	return false
}

func (g *gate) forward(r *http.Request, body []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, g.target+r.URL.RequestURI(),
		bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding")
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, answer, err
}

// describe reads what a request means from its path and its body.
func describe(r *http.Request, body []byte) call {
	if strings.HasSuffix(r.URL.Path, "/oauth/token") {
		var q struct {
			RefreshToken string `json:"refresh_token"`
		}
		_ = json.Unmarshal(body, &q) // the anthropic driver sends JSON; anything else has no token and so no account
		return call{step: "grant", account: accountOf(q.RefreshToken), token: q.RefreshToken}
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/secret/data/"+accountsPath)
	if !ok || r.Method != http.MethodPut && r.Method != http.MethodPost {
		return call{}
	}
	var q struct {
		Data struct {
			RefreshToken string `json:"refresh_token"`
			Rotation     struct {
				Claim *struct {
					Ambiguous bool `json:"ambiguous"`
				} `json:"claim"`
				Last *struct {
					Result string `json:"result"`
				} `json:"last"`
			} `json:"rotation"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &q) // not a record: a release of nothing
	c, last := q.Data.Rotation.Claim, q.Data.Rotation.Last
	switch {
	case c != nil && !c.Ambiguous:
		return call{step: "claim", account: name}
	case c == nil && last != nil && last.Result == "succeeded":
		return call{step: "commit", account: name, token: q.Data.RefreshToken}
	}
	return call{step: "release", account: name}
}

// accountOf is the account that a simulated token names.
func accountOf(token string) string {
	for _, prefix := range []string{"sk-ant-ort-sim-", "sk-ant-oat-sim-"} {
		if rest, ok := strings.CutPrefix(token, prefix); ok {
			name, _, _ := strings.Cut(rest, "-")
			return name
		}
	}
	return ""
}
