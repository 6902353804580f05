package kv

import (
	"encoding/json"
	"strconv"

	"github.com/tokenward/tokenward/tokenstore"
)

// exact bounds the whole numbers that Vault gives back as they were written: it keeps JSON numbers as floating point.
const exact = 1 << 53

// noteRounded makes a slip of a client id that was written as a number and has lost digits in Vault.
func noteRounded(r *tokenstore.Record, data json.RawMessage) {
	if n, err := strconv.ParseUint(r.ClientID, 10, 64); r.ClientID == "" || err == nil && n < exact {
		return
	}
	var doc struct {
		ClientID json.RawMessage `json:"client_id"`
	}
	if json.Unmarshal(data, &doc) != nil || string(doc.ClientID) != r.ClientID { // it is a string
		return
	}
	r.ClientID = ""
	r.Slips = append(r.Slips, tokenstore.Slip{
		Key: "client_id", Raw: doc.ClientID,
		Rule: "must be written as a string: Vault rounds a number of this length",
	})
}
