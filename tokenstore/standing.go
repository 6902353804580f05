package tokenstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// Check says why a record cannot be used with these providers and pools, as a *RecordError; nil: it can. One pool is
// enough: services that share a store may be configured for different ones.
func Check(r record.Record, drivers map[string]Driver, pools map[string]PoolConfig) error {
	r = r.Settled()
	if err := r.Broken(); err != nil {
		return err
	}
	if err := r.FirstSlip(record.Slip.Closes); err != nil {
		return err
	}
	d := drivers[r.Provider]
	if d == nil {
		return &record.Error{
			Key: "provider",
			Rule: fmt.Sprintf("%q is not in the configuration: it knows %s", r.Provider,
				list(slices.Collect(maps.Keys(drivers)))),
		}
	}
	if err := r.Limits.Validate(); err != nil {
		return err
	}
	if err := d.Check(r); err != nil {
		return err
	}
	strange := StrangePools(r, pools)
	if len(strange) < len(r.Serves()) {
		return nil
	}
	rule := strings.Join(strange, ", ") + ": " + remedyForPools(r.Provider, pools)
	if len(r.Pools) == 0 {
		rule = "none is named, and " + rule
	}
	return &record.Error{Key: "pools", Rule: rule}
}

// StrangePools says, for each pool of the record that this configuration cannot serve it in, why.
func StrangePools(r record.Record, pools map[string]PoolConfig) []string {
	var out []string
	for _, name := range r.Serves() {
		switch p, ok := pools[name]; {
		case !ok:
			out = append(out, fmt.Sprintf("pool %q is not in the configuration", name))
		case p.Provider != r.Provider:
			out = append(out, fmt.Sprintf("pool %q takes accounts of provider %s, not %s", name, p.Provider, r.Provider))
		}
	}
	return out
}

func remedyForPools(provider string, pools map[string]PoolConfig) string {
	var fitting []string
	for name, p := range pools {
		if p.Provider == provider {
			fitting = append(fitting, name)
		}
	}
	if len(fitting) == 0 {
		return fmt.Sprintf("no pool takes accounts of provider %s: add one under pools", provider)
	}
	return fmt.Sprintf("name one of %s, or add it under pools", list(fitting))
}

func list(names []string) string {
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// standing is active when the record is not what keeps the account from serving.
func standing(id record.ID, r record.Record, problem error, quarantine string) (AccountState, string) {
	switch to := r.Labels[record.LabelCopiedTo]; {
	case problem != nil:
		return StateConfigError, join(append([]string{problem.Error()}, r.Hints()...)...)
	case to != "":
		return StatePaused, "its live copy is in " + to
	case r.State == record.Paused:
		return StatePaused, whyPaused(r)
	case quarantine != "":
		return StateNeedsReauth, quarantine
	case r.Rotation.Claim != nil && r.Rotation.Claim.Ambiguous:
		return StateAmbiguous, "a refresh was sent and no readable answer came: " + lastFailure(id, r)
	}
	return StateActive, ""
}

// lastFailure is the error of the latest refresh with the record's credential; "" when it succeeded, or none is known.
func lastFailure(id record.ID, r record.Record) string {
	_, why := record.Failing(id, r)
	return why
}

// join puts sentences side by side, each thing once.
func join(sentences ...string) string {
	all := ""
	for _, s := range sentences {
		switch {
		case s == "", strings.Contains(all, s):
		case all == "":
			all = s
		default:
			all += "; " + s
		}
	}
	return all
}

// remarks are what is wrong with a record that serves all the same.
func remarks(r record.Record, d Driver, pools map[string]PoolConfig) []string {
	out := append(slipRemarks(r), r.Hints()...)
	if no := r.Rotation.Rejected; no != nil {
		out = append(out, "the credential that it was given was refused at "+no.At.UTC().Format(time.RFC3339)+" ("+no.Error+
			"): the former one is in use again")
	}
	if f := r.Former; f != nil && !record.SameCredential(r, r.Reinstated(f)) {
		out = append(out, "a new credential was given at "+f.Since.UTC().Format(time.RFC3339)+
			" and has not been exchanged yet: the former one is kept until then")
	}
	if r.Kind.Refreshes() && r.RefreshToken.IsZero() {
		out = append(out, fmt.Sprintf("there is nothing to refresh with: its type is %s and refresh_token is missing: "+
			"it serves until its access token ends", r.Kind))
	}
	if strange := StrangePools(r, pools); len(strange) > 0 {
		out = append(out, "it does not serve everywhere: "+strings.Join(strange, ", "))
	}
	if ends := endsBeforeRenewal(r, d); ends != "" {
		out = append(out, ends)
	}
	return out
}

// whyPaused tells a record that somebody paused from one that a slip holds.
func whyPaused(r record.Record) string {
	const why = "paused by an operator"
	for _, s := range r.Slips {
		switch {
		case s.Key == "state" && s.LastGood:
			return join(why, s.Remark())
		case s.Key == "state":
			return s.Remark()
		}
	}
	return why
}

// slipRemarks says which keys of a record cannot be used, and what counts instead.
func slipRemarks(r record.Record) []string {
	var out []string
	for _, s := range r.Slips {
		out = append(out, s.Remark())
	}
	return out
}

// endsBeforeRenewal says that the store will take the record for deleted, unless a refresh writes a new version before.
func endsBeforeRenewal(r record.Record, d Driver) string {
	last := r.Rotation.Last
	idle := d == nil || !d.Refreshable(r) || r.OnHold() || last != nil && last.Class == record.RefreshPermanent
	renewed := !idle && !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(r.Ends)
	if r.Ends.IsZero() || renewed {
		return ""
	}
	return "the store takes this version of the record for deleted at " + r.Ends.UTC().Format(time.RFC3339) +
		" (Vault's delete_version_after), and the account is paused then: write it again before, or end that setting"
}
