package tokenstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Labels of a record that `tokenward accounts copy` moved to another store: where its live copy is, and the state it had.
const (
	LabelCopiedTo    = "copied-to"
	LabelCopiedState = "copied-state"
)

// WhyDeleted is why an account is paused whose record loads as [ErrDeleted].
const WhyDeleted = "its latest version is deleted or destroyed in the store: undelete it there if it was deleted, write it anew, or remove the account"

// OnHold reports whether the account must neither serve nor refresh: an operator paused it, or its live copy is in another
// store. The label wins over a state that somebody patches: a refresh token must not have two owners.
func (r Record) OnHold() bool { return r.State == Paused || r.Labels[LabelCopiedTo] != "" }

// Check says why a record cannot be used with these providers and pools, as a *RecordError; nil: it can. One pool is enough:
// services that share a store may be configured for different ones.
func Check(r Record, drivers map[string]Driver, pools map[string]PoolConfig) error {
	d := drivers[r.Provider]
	if d == nil {
		return &RecordError{Key: "provider", Rule: fmt.Sprintf("%q is not in the configuration: it knows %s", r.Provider, list(slices.Collect(maps.Keys(drivers))))}
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
	return &RecordError{Key: "pools", Rule: rule}
}

// StrangePools says, for each pool of the record that this configuration cannot serve it in, why.
func StrangePools(r Record, pools map[string]PoolConfig) []string {
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

// Standing is what a record alone says of its account: the state, and why it is not active or what is wrong although it is.
func Standing(id AccountID, r Record, drivers map[string]Driver, pools map[string]PoolConfig) (AccountState, string) {
	problem := Check(r, drivers, pools)
	if problem == nil {
		problem = Flaw(r)
	}
	state, why := standing(r, problem, quarantined(id, r))
	if state == StateActive {
		why = remark(r, pools)
	}
	return state, why
}

// standing is active when the record is not what keeps the account from serving.
func standing(r Record, problem error, quarantine string) (AccountState, string) {
	switch to := r.Labels[LabelCopiedTo]; {
	case problem != nil:
		return StateConfigError, problem.Error()
	case to != "":
		return StatePaused, "its live copy is in " + to + ": copy it back, or remove the label " + LabelCopiedTo + " (tokenward accounts resume --force)"
	case r.State == Paused:
		return StatePaused, "paused by an operator"
	case quarantine != "":
		return StateNeedsReauth, quarantine
	case r.Rotation.Claim != nil && r.Rotation.Claim.Ambiguous:
		return StateAmbiguous, "a refresh was sent and no readable answer came: " + lastFailure(r)
	}
	return StateActive, ""
}

// lastFailure is the error of the latest refresh; "" when it succeeded, or none is known.
func lastFailure(r Record) string {
	if last := r.Rotation.Last; last != nil && last.Result == "failed" {
		return last.Error
	}
	return ""
}

// remark is what is wrong with a record that serves all the same.
func remark(r Record, pools map[string]PoolConfig) string {
	var out []string
	if no := r.Rotation.Rejected; no != nil {
		out = append(out, "the credential that it was given was refused at "+no.At.UTC().Format(time.RFC3339)+" ("+no.Error+"): the former one is in use again")
	}
	if f := r.Former; f != nil && !sameCredential(r, r.reinstated(f)) {
		out = append(out, "a new credential was given at "+r.Former.Since.UTC().Format(time.RFC3339)+" and has not been exchanged yet: the former one is kept until then")
	}
	switch r.Kind {
	case KindOAuthRefresh, KindAnthropicOAuth, KindClaudeCode:
		if r.RefreshToken.IsZero() {
			out = append(out, fmt.Sprintf("there is nothing to refresh with: its type is %s and refresh_token is missing: it serves until its access token ends", r.Kind))
		}
	case KindClientCredentials, KindAPIKey:
	}
	if strange := StrangePools(r, pools); len(strange) > 0 {
		out = append(out, "it does not serve everywhere: "+strings.Join(strange, ", "))
	}
	return strings.Join(out, "; ")
}
