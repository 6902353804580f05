package tokenstore

import (
	"errors"
	"regexp"
	"slices"

	"github.com/tokenward/tokenward/tokenstore/record"
)

// mend says how to put right what is wrong with a record: the command, or the edit where no command can. err is from
// Check, or from reading the record: then the commands cannot read it either. "" when the error itself says what to
// do.
func mend(id record.ID, r record.Record, err error, readable bool, pools map[string]PoolConfig) string {
	var e *record.Error
	switch {
	case err == nil:
		return mendSlips(id, r, pools)
	case !errors.As(err, &e) || e.Key == "":
		return ""
	case !readable:
		return "correct that key of the record in the store, or write the whole record anew"
	}
	return mendKey(id, r, e.Key, pools)
}

func mendSlips(id record.ID, r record.Record, pools map[string]PoolConfig) string {
	var said []string
	for _, s := range r.Slips {
		said = append(said, mendKey(id, r, s.Key, pools))
	}
	if len(StrangePools(r, pools)) > 0 {
		said = append(said, mendPools(id, r, pools))
	}
	return join(slices.Compact(said)...)
}

func mendKey(id record.ID, r record.Record, key string, pools map[string]PoolConfig) string {
	to := AccountStatus{ID: id, Kind: r.Kind}
	switch key {
	case "pools":
		return mendPools(id, r, pools)
	case "provider":
		return "write that provider into the configuration under providers and restart, or correct the record"
	case "limits.rpm":
		return "`" + to.command("set", "--rpm", "0") + "` ends that limit, another number sets it"
	case "limits.concurrency":
		return "`" + to.command("set", "--concurrency", "0") + "` ends that limit, another number sets it"
	case "refresh_token", "client_secret", "api_key", "access_token":
		return to.newCredential()
	case "client_id":
		return "`" + to.command("set", "--client-id", "CLIENT_ID") + "` mends it, with the id of the credential's client"
	}
	return "correct the key " + key + " of the record in the store"
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

func mendPools(id record.ID, r record.Record, pools map[string]PoolConfig) string {
	var fitting []string
	for name, p := range pools {
		if p.Provider == r.Provider && plainName.MatchString(name) {
			fitting = append(fitting, name)
		}
	}
	if len(fitting) == 0 {
		return ""
	}
	return "`" + accountsCommand("set", id, "--pool", slices.Min(fitting)) + "` mends it"
}
