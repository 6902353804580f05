package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenward/tokenward/integration"
	"github.com/tokenward/tokenward/integration/provider"
)

// accounts maps the tour's accounts to their pools.
var accounts = map[string]string{"claude-1": "claude", "claude-2": "claude", "backup-1": "backup"}

const (
	within = 10 * time.Second // for what another process brings about
	plain  = 20               // requests that the added time is measured against
	storm  = 100

	slowRefresh = 200 * time.Millisecond // under the storm
)

// tour plays scenarios on a running gateway.
type tour struct {
	*integration.Gateway
	ctx  context.Context //nolint:containedctx // of the whole program
	mu   sync.Mutex      // guards n
	n    int             // requests so far: each has its own id at the provider
	base time.Duration   // median of plain requests
}

// answer is what the client got and which accounts' tokens the provider saw for it.
type answer struct {
	integration.Answer
	used []string
}

func (a answer) attempts() string { return a.Header.Get("tokenward-attempts") }

// act is one scenario being played: what it shows, and what was not as expected.
type act struct {
	*tour
	before   int // redemptions before it
	shown    answer
	problems []string
}

var scenarios = []struct {
	name string
	play func(a *act)
}{
	{"valid token", func(a *act) {
		a.show(a.post(""))
		a.outcome(200, "1")
	}},
	{"revoked token: refreshed, same account", func(a *act) {
		a.Provider.Revoke("claude-1") // both: whichever is picked first
		a.Provider.Revoke("claude-2")
		a.show(a.post(""))
		a.outcome(200, "2")
		a.same(true)
		a.expect("redemptions", a.redemptions(), 1)
	}},
	{"stream after a refusal", func(a *act) {
		a.show(a.post("status=401; events=3"))
		a.outcome(200, "2")
		a.same(true)
		a.expect("events", strings.Count(a.shown.Body, "data:"), 3)
	}},
	{"refused before and after refresh: other account", func(a *act) {
		a.show(a.post("status=401; times=2"))
		a.outcome(200, "3")
		a.same(false)
		a.expect("redemptions", a.redemptions(), 1)
	}},
	{"refresh refused for good: quarantine, new login revives", func(a *act) {
		a.Provider.Kill("claude-1")
		a.show(a.until("claude-1"))
		a.outcome(200, "2")
		a.expect("last account", a.shown.Account, "claude-2")
		a.expect("state", a.state("claude-1"), "needs_reauth")
		a.must(a.Add("claude-1", "claude", time.Hour))
		a.must(a.wait("claude-1", "active"))
		revived := a.until("claude-1")
		a.expect("status of the revived account", revived.Status, 200)
		a.expect("the revived account", revived.Account, "claude-1")
	}},
	{"429 passed on, the next requests avoid the account", func(a *act) {
		limited := provider.Script{
			Status:  429,
			Headers: map[string]string{"Retry-After": "60"},
			Body:    `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`,
		}
		a.Provider.Script("claude-1", limited)
		a.Provider.Script("claude-2", limited)
		a.show(a.post(""))
		a.outcome(429, "1")
		a.Provider.Script("claude-1", provider.Script{})
		a.Provider.Script("claude-2", provider.Script{})
		for range 5 {
			next := a.post("")
			a.expect("next status", next.Status, 200)
			a.expect("next account is the limited one", slices.Equal(next.used, a.shown.used), false)
		}
	}},
	{"403 that says revoked: refreshed, same account", func(a *act) {
		a.show(a.post("status=403; message=OAuth token has been revoked"))
		a.outcome(200, "2")
		a.same(true)
	}},
	{"403 permission: passed on", func(a *act) {
		a.show(a.post("status=403"))
		a.outcome(403, "1")
		a.expect("the provider's words", strings.Contains(a.shown.Body, "simulated permission_error"), true)
	}},
	{"one client's bad request disturbs no other", func(a *act) {
		for range 8 { // the others are served, so their accounts are known to be well
			a.expect("status of the others", a.post("").Status, 200)
		}
		a.show(a.post("status=401; times=9; message=this key is not for administrators"))
		a.expect("status of the bad request", a.shown.Status, 401)
		for range 8 {
			a.expect("status of the others", a.post("").Status, 200)
		}
		a.expect("at most one refresh", a.redemptions() <= 1, true)
		for _, name := range []string{"claude-1", "claude-2", "backup-1"} {
			a.expect("state of "+name, a.state(name), "active")
		}
	}},
	{"pool dead: backup serves", func(a *act) {
		a.Provider.Kill("claude-1")
		a.Provider.Kill("claude-2")
		a.show(a.post(""))
		a.outcome(200, "3")
		a.expect("account", a.shown.Account, "backup-1")
		next := a.post("")
		a.expect("next account", next.Account, "backup-1")
		a.expect("next attempts", next.attempts(), "1")
	}},
	{fmt.Sprintf("%d parallel requests, revoked token: one redemption", storm), func(a *act) {
		for _, other := range []string{"claude-2", "backup-1"} {
			_, err := a.CLI("", "accounts", "pause", other)
			a.must(err)
			a.must(a.wait(other, "paused"))
		}
		a.Provider.Script("claude-1", provider.Script{Before: slowRefresh}) // all of them meet the same refresh
		a.Provider.Revoke("claude-1")
		answers := make([]answer, storm)
		errs := make([]error, storm)
		var wg sync.WaitGroup
		for i := range storm {
			wg.Go(func() { answers[i], errs[i] = a.send("") })
		}
		wg.Wait()
		a.must(errors.Join(errs...))
		good := 0
		for _, one := range answers {
			if one.Status == http.StatusOK && one.Account == "claude-1" {
				good++
			}
		}
		slices.SortFunc(answers, func(x, y answer) int { return int(x.Took - y.Took) })
		a.show(answers[storm-1]) // the slowest
		a.expect("answered by claude-1", good, storm)
		a.expect("redemptions", a.redemptions(), 1)
	}},
	{"everything dead: our own 503 with the reason", func(a *act) {
		for name := range accounts {
			a.Provider.Script(name,
				provider.Script{Status: 401, Body: `{"type":"error","error":{"type":"authentication_error","message":"no"}}`})
		}
		a.show(a.post(""))
		a.expect("status", a.shown.Status, 503)
		a.reason("credentials_refused")
		next := a.post("")
		a.expect("next status", next.Status, 503)
	}},
}

// play plays all scenarios, each on fresh accounts, and prints a line for each; false if one was not as expected.
func (t *tour) play(out io.Writer) (bool, error) {
	if err := t.measure(); err != nil {
		return false, err
	}
	width := 0
	for _, s := range scenarios {
		width = max(width, len(s.name))
	}
	row := fmt.Sprintf("%%-%ds  %%6v  %%8v  %%-40s  %%8v  %%s\n", width)
	fmt.Fprintf(out, row, "SCENARIO", "STATUS", "ATTEMPTS", "ACCOUNTS", "ADDED MS", "RESULT")
	ok := true
	for _, s := range scenarios {
		if err := t.reset(); err != nil {
			return false, fmt.Errorf("preparing %q: %w", s.name, err)
		}
		a := &act{tour: t, before: t.redeemed()}
		s.play(a)
		if t.ctx.Err() != nil {
			return false, t.ctx.Err()
		}
		result := "ok"
		if len(a.problems) > 0 {
			ok, result = false, "FAILED: "+strings.Join(a.problems, "; ")
		}
		added := fmt.Sprintf("%.1f", float64(a.shown.Took-t.base)/float64(time.Millisecond))
		fmt.Fprintf(out, row, s.name, a.shown.Status, a.shown.attempts(), path(a.shown.used), added, result)
	}
	fmt.Fprintf(out,
		"\nadded ms: to %.1f ms, the median of %d plain requests; of the parallel ones, the slowest, with a refresh made to take %d ms\n",
		float64(t.base)/float64(time.Millisecond), plain, slowRefresh.Milliseconds())
	return ok, nil
}

// path writes accounts in the order of their attempts: "claude-1 ×2 > claude-2".
func path(used []string) string {
	var steps []string
	for len(used) > 0 {
		n := 1
		for n < len(used) && used[n] == used[0] {
			n++
		}
		step := used[0]
		if n > 1 {
			step += fmt.Sprintf(" ×%d", n)
		}
		steps, used = append(steps, step), used[n:]
	}
	return strings.Join(steps, " > ")
}

// measure takes the median of plain requests, after some that open the connections.
func (t *tour) measure() error {
	var took []time.Duration
	for i := range 2 * plain {
		a, err := t.send("")
		if err != nil {
			return err
		}
		if a.Status != http.StatusOK {
			return fmt.Errorf("a plain request was answered %d: %s", a.Status, a.Body)
		}
		if i >= plain {
			took = append(took, a.Took)
		}
	}
	slices.Sort(took)
	t.base = took[len(took)/2]
	return nil
}

func (t *tour) addAll() error {
	for name, pool := range accounts {
		if err := t.Add(name, pool, time.Hour); err != nil {
			return err
		}
	}
	return nil
}

// reset gives the next scenario fresh accounts. They are removed first, because cooldowns outlive a new credential.
func (t *tour) reset() error {
	for name := range accounts {
		if _, err := t.CLI("", "accounts", "remove", name); err != nil {
			return err
		}
		t.Provider.Script(name, provider.Script{})
	}
	for name := range accounts {
		if err := t.wait(name, "absent"); err != nil {
			return err
		}
	}
	if err := t.addAll(); err != nil {
		return err
	}
	for name := range accounts {
		if err := t.wait(name, "active"); err != nil {
			return err
		}
	}
	time.Sleep(100 * time.Millisecond) // the pools follow the states shortly after
	return nil
}

// wait waits until the admin API reports the account's state.
func (t *tour) wait(account, state string) error {
	end := time.Now().Add(within)
	for {
		got := t.state(account)
		switch {
		case got == state:
			return nil
		case t.ctx.Err() != nil:
			return t.ctx.Err()
		case time.Now().After(end):
			return fmt.Errorf("%s is still %s after %s, not %s", account, got, within, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// state asks the admin API; an account it does not list is "absent".
func (t *tour) state(account string) string {
	req, err := http.NewRequestWithContext(t.ctx, http.MethodGet, t.AdminURL+"/api/admin/oauth/refresh", http.NoBody)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+t.Token)
	a, err := integration.Do(http.DefaultClient, req)
	if err != nil {
		return err.Error()
	}
	var out struct {
		Accounts []struct {
			ID    string `json:"accountId"`
			State string `json:"state"`
		} `json:"accounts"`
	}
	if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != http.StatusOK {
		return fmt.Sprintf("unknown (the admin API answers %d: %v)", a.Status, err)
	}
	for _, one := range out.Accounts {
		if one.ID == account {
			return one.State
		}
	}
	return "absent"
}

func (t *tour) send(sim string) (answer, error) {
	t.mu.Lock()
	t.n++
	id := fmt.Sprintf("tour-%d", t.n)
	t.mu.Unlock()
	got, err := t.Post(t.ctx, id, sim, strings.NewReader(`{"model":"x"}`))
	a := answer{Answer: got}
	for _, s := range t.Provider.Seen(id) {
		a.used = append(a.used, owner(s))
	}
	return a, err
}

// owner is the account whose token a request carried: the provider itself forgets the owners of revoked tokens.
func owner(s provider.Seen) string {
	for _, value := range s.Authorizations {
		for name := range accounts {
			if strings.HasPrefix(value, "Bearer sk-ant-oat-sim-"+name+"-") {
				return name
			}
		}
	}
	return "unknown"
}

// redeemed counts the redemptions of all accounts since the program began.
func (t *tour) redeemed() int {
	n := 0
	for name := range accounts {
		n += t.Provider.Account(name).Redemptions
	}
	return n
}

// redemptions counts those of this scenario.
func (a *act) redemptions() int { return a.redeemed() - a.before }

func (a *act) post(sim string) answer {
	got, err := a.send(sim)
	a.must(err)
	return got
}

// until sends plain requests until one begins with the account: which one is picked first is the gateway's business.
func (a *act) until(account string) answer {
	for range 50 {
		if got := a.post(""); len(got.used) > 0 && got.used[0] == account {
			return got
		}
	}
	a.problems = append(a.problems, account+" was never picked")
	return answer{}
}

// show makes an answer the one that the table is about.
func (a *act) show(got answer) { a.shown = got }

func (a *act) outcome(status int, attempts string) {
	a.expect("status", a.shown.Status, status)
	a.expect("attempts", a.shown.attempts(), attempts)
}

// same tells whether the first and the last attempt must have used the same account.
func (a *act) same(want bool) {
	if len(a.shown.used) == 0 {
		a.problems = append(a.problems, "the provider saw no request")
		return
	}
	a.expect("the same account served", a.shown.used[0] == a.shown.used[len(a.shown.used)-1], want)
}

func (a *act) reason(want string) {
	a.expect("tokenward-reason", a.shown.Header.Get("tokenward-reason"), want)
}

func (a *act) expect(what string, got, want any) {
	if got != want {
		a.problems = append(a.problems, fmt.Sprintf("%s is %v, expected %v", what, got, want))
	}
}

func (a *act) must(err error) {
	if err != nil {
		a.problems = append(a.problems, err.Error())
	}
}
