package chaos

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// calm waits, after the last fault, until nothing is unsaved and every account serves or is known to be lost: at most
// two leases, a token's life and the longest backoffs.
func (w *world) calm(t *testing.T, rep *report) {
	t.Helper()
	rep.stormed()
	deadline := time.Now().Add(60 * time.Second)
	for {
		var open []string
		for _, r := range w.replicas {
			open = append(open, w.unsettled(r)...)
		}
		rep.waiting(strings.Join(open, "; "))
		if len(open) == 0 {
			rep.calmed()
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("no calm: %s", strings.Join(open, "; "))
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// unsettled says what keeps a replica from being calm.
func (w *world) unsettled(r *replica) (open []string) {
	for _, f := range r.journal() {
		open = append(open, fmt.Sprintf("replica %d has %s in its journal", r.number, f))
	}
	states := r.states()
	for _, name := range w.names {
		if !w.acceptable(name, states[name]) {
			open = append(open, fmt.Sprintf("replica %d: %s is %q", r.number, name, states[name]))
		}
	}
	return open
}

// acceptable reports whether an account may be left in a state.
func (w *world) acceptable(account, state string) bool {
	switch state {
	case "active", "expiring":
		return true
	case "needs_reauth", "ambiguous":
		return w.books.mayBeLost(account)
	}
	return false
}

// states is what a replica says of its accounts.
func (r *replica) states() map[string]string {
	var out struct {
		Accounts []struct {
			ID    string `json:"accountId"`
			State string `json:"state"`
		} `json:"accounts"`
	}
	states := map[string]string{}
	if status, body := r.accounts(); status != 200 || json.Unmarshal([]byte(body), &out) != nil {
		return states
	}
	for _, a := range out.Accounts {
		states[a.ID] = a.State
	}
	return states
}

// judge checks what must hold after the storm.
func (w *world) judge(t *testing.T, rep *report) {
	t.Helper()
	for i, name := range w.names {
		r := w.replicas[i%replicas]
		lost := w.books.mayBeLost(name)
		status, body := r.force(name)
		// An account may be active with a refresh of unknown outcome on file that spent nothing: that is found out shortly
		// before its token ends, and a forced refresh that meets the planned one waits for it too.
		for deadline := time.Now().Add(life + lease); status != 200 && !lost && time.Now().Before(deadline); {
			time.Sleep(500 * time.Millisecond)
			status, body = r.force(name)
		}
		state := r.states()[name]
		rep.state(state)
		switch {
		case status == 200:
		case lost && (state == "needs_reauth" || state == "ambiguous"):
		default:
			t.Errorf("%s does not serve: a refresh by replica %d answered %d %s; its state is %s, an answer was lost: %v", name,
				r.number, status, body, state, lost)
		}
		w.ownTokens(t, name)
	}
	_, _, excused, unexcused, wrong := w.books.sums()
	for _, name := range wrong {
		t.Errorf("%s: a refresh token was presented again although a living replica had its successor", name)
	}
	reuses := 0
	for _, name := range w.names {
		reuses += w.provider.Account(name).Reuses // less than ours: it does not count what is presented to a dead family
	}
	if reuses > excused+unexcused {
		t.Errorf("the provider counts %d reuses, the ledger %d: the ledger is wrong", reuses, excused+unexcused)
	}
	for _, r := range w.replicas {
		for deadline := time.Now().Add(5 * time.Second); len(r.journal()) > 0 && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond) // the refreshes above answer before they are saved
		}
		if left := r.journal(); len(left) > 0 {
			t.Errorf("replica %d: its journal is not empty: %v", r.number, left)
		}
		log := r.Log.String()
		for _, secret := range []string{"sk-ant-oat-sim", "sk-ant-ort-sim"} {
			if strings.Contains(log, secret) {
				t.Errorf("replica %d has a secret in its log", r.number)
			}
		}
	}
	if n := rep.refused(); n > 0 {
		t.Errorf("%d requests through the gateway got a 401", n)
	}
}

// ownTokens checks that an account's record holds no other account's tokens.
func (w *world) ownTokens(t *testing.T, name string) {
	t.Helper()
	s, err := w.kv().Get(t.Context(), accountsPath+name)
	if err != nil {
		t.Errorf("%s cannot be read: %v", name, err)
		return
	}
	for _, key := range []string{"refresh_token", "access_token"} {
		if token, _ := s.Data[key].(string); accountOf(token) != name {
			t.Errorf("%s holds a token of %q in %s", name, accountOf(token), key)
		}
	}
}
