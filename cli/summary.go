package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

// counts is the summary line.
func (o *overview) counts() string {
	var parts []string
	order := []tokenstore.AccountState{
		tokenstore.StateActive, tokenstore.StateExpiring, tokenstore.StateCooling, tokenstore.StateAmbiguous,
		tokenstore.StateExpired, tokenstore.StatePaused, tokenstore.StateNeedsReauth, tokenstore.StateConfigError,
	}
	for _, s := range slices.Sorted(maps.Keys(o.states)) {
		if !slices.Contains(order, s) {
			order = append(order, s)
		}
	}
	for _, s := range order {
		if n := o.states[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, Clean(string(s))))
		}
	}
	switch o.all {
	case 0:
		return "no accounts: add one with tokenward accounts add"
	case 1:
		return "1 account: " + parts[0]
	}
	return fmt.Sprintf("%d accounts: ", o.all) + strings.Join(parts, ", ")
}

// verdict is the error with which status --problems ends when something is red.
func (o *overview) verdict() error {
	var red []string
	switch {
	case len(o.red) > 5:
		first := strings.Join(o.red[:5], ", ")
		red = append(red, fmt.Sprintf("%d accounts need a human: %s and %d more", len(o.red), first, len(o.red)-5))
	case len(o.red) > 1:
		red = append(red, fmt.Sprintf("%d accounts need a human: %s", len(o.red), strings.Join(o.red, ", ")))
	case len(o.red) == 1:
		red = append(red, "1 account needs a human: "+o.red[0])
	}
	switch {
	case o.all == 0:
		red = append(red, "there is no account that could serve")
	case len(o.idle) > 0:
		red = append(red, "no account can serve in "+strings.Join(o.idle, ", "))
	}
	if len(red) == 0 {
		return nil
	}
	err := fmt.Errorf("looking for problems: %s: see WHY for what to do", strings.Join(red, "; "))
	return &ExitError{ExitNeedsHuman, err}
}
