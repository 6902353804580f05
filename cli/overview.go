package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/api"
	"github.com/tokenward/tokenward/tokenstore"
)

// shownAccount is an account as the service told it.
type shownAccount struct {
	api.Account
	Refreshable *bool `json:"refreshable"` // in the place of the account's: nil, not told

	raw json.RawMessage
}

func (x *shownAccount) state() tokenstore.AccountState { return tokenstore.AccountState(x.State) }

// need is how much an account wants of a human; smaller is more.
type need int

const (
	needsHuman     need = iota + 1 // red: nothing gets better by itself
	needsAttention                 // it does not serve in full, or will not; or somebody should know
	needsNothing
)

func (x *shownAccount) needs() need {
	switch x.state() {
	case tokenstore.StateNeedsReauth, tokenstore.StateConfigError:
		return needsHuman
	case tokenstore.StatePaused: // an operator's wish; a record that was deleted may be nobody's
		if strings.HasPrefix(x.Reason, tokenstore.WhyDeleted) {
			return needsAttention
		}
		return needsNothing
	case tokenstore.StateActive, tokenstore.StateExpiring, tokenstore.StateExpired, tokenstore.StateCooling,
		tokenstore.StateAmbiguous:
	default:
		return needsHuman // a state of a newer service
	}
	switch {
	case x.Refreshable != nil && !*x.Refreshable && x.ExpiresAt != nil:
		return needsHuman // its token ends, and nothing renews it
	case x.misconfigured():
		return needsHuman
	case x.state() != tokenstore.StateActive || x.Reason != "":
		return needsAttention
	}
	return needsNothing
}

// misconfigured reports that the token endpoint refuses our client.
func (x *shownAccount) misconfigured() bool {
	last := x.LastRefresh
	return last != nil && last.Result == "failed" && last.Class == string(tokenstore.RefreshMisconfigured)
}

// overview is the service's answer, those first that need a human.
type overview struct {
	accounts []shownAccount
	all      int
	states   map[tokenstore.AccountState]int
	idle     []string // pools of which no account can serve, although not all of them are paused
	red      []string // accounts that need a human
	summary  json.RawMessage
}

// rawStatuses is api.Statuses with its parts as they came, since a newer service may say more than this version knows.
type rawStatuses struct {
	Accounts []json.RawMessage `json:"accounts"`
	Summary  json.RawMessage   `json:"summary"`
}

func readOverview(raw json.RawMessage) (*overview, error) {
	var ans rawStatuses
	err := json.Unmarshal(raw, &ans)
	o := &overview{all: len(ans.Accounts), states: map[tokenstore.AccountState]int{}, summary: ans.Summary}
	able, unpaused := map[string]bool{}, map[string]bool{}
	for _, r := range ans.Accounts {
		x := shownAccount{raw: r}
		if err == nil {
			err = json.Unmarshal(r, &x)
		}
		o.accounts = append(o.accounts, x)
		o.states[x.state()]++
		for _, p := range x.Pools {
			if p == "" { // of a record that cannot be read
				continue
			}
			able[p] = able[p] || x.Routable
			unpaused[p] = unpaused[p] || x.state() != tokenstore.StatePaused
		}
		if x.needs() == needsHuman {
			o.red = append(o.red, x.ID)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("asking the service: its answer cannot be read: %w", err)
	}
	for p, ok := range able {
		if !ok && unpaused[p] {
			o.idle = append(o.idle, p)
		}
	}
	slices.Sort(o.idle)
	slices.Sort(o.red)
	slices.SortStableFunc(o.accounts, func(a, b shownAccount) int {
		return cmp.Or(cmp.Compare(a.needs(), b.needs()), cmp.Compare(a.ID, b.ID))
	})
	return o, nil
}

// keepProblems leaves out what is well, and returns the rest as the service would have said it.
func (o *overview) keepProblems() json.RawMessage {
	o.accounts = slices.DeleteFunc(o.accounts, func(x shownAccount) bool { return x.needs() == needsNothing })
	kept := make([]json.RawMessage, len(o.accounts))
	for i, x := range o.accounts {
		kept[i] = x.raw
	}
	raw, _ := json.Marshal(rawStatuses{kept, o.summary}) // it came as JSON
	return raw
}

func (a *app) printStatus(out io.Writer, raw json.RawMessage, o *overview) error {
	colour := isTerminal(out)
	err := a.print(out, raw, func(w io.Writer) {
		if len(o.accounts) == 0 {
			return
		}
		row(w, "ACCOUNT", "PROVIDER", "POOLS", "STATE", "SERVES", "TOKEN ENDS", "NEXT RENEWAL", "ATTEMPTS", "MOVED", "WHY")
		for _, x := range o.accounts {
			row(w, x.ID, x.Provider, dash(strings.Join(x.Pools, ",")), x.paint(colour), yes(x.Routable),
				whenAt(x.ExpiresAt), whenAt(x.NextRefreshAt), x.Requests, x.Failovers, dash(a.withConfig(x.Reason)))
		}
	})
	if err != nil || a.output != "text" {
		return err
	}
	fmt.Fprintln(out, o.counts())
	for _, p := range o.idle {
		fmt.Fprintf(out, "pool %s: no account can serve\n", Clean(p))
	}
	return nil
}

// paint colours the state. Every state gets a code of the same length, so that the table's columns stay aligned.
func (x *shownAccount) paint(colour bool) painted {
	state := Clean(x.State)
	if !colour {
		return painted(state)
	}
	code := map[need]string{needsHuman: "31", needsAttention: "33", needsNothing: "32"}[x.needs()]
	if x.state() == tokenstore.StatePaused {
		code = "33"
	}
	return painted("\033[" + code + "m" + state + "\033[0m")
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
