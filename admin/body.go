package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/tokenward/tokenward/tokenstore"
)

const maxBody = 64 << 10

// refreshRequest is the body of POST /api/admin/oauth/refresh.
type refreshRequest struct {
	Action    string                `json:"action"`
	AccountID *tokenstore.AccountID `json:"accountId"` // nil: not given
	Force     bool                  `json:"force"`
}

// UnmarshalJSON takes an object as the contract has it, to the letter: a null, a doubled key or another spelling is
// somebody's mistake, and what this call does cannot be undone.
func (q *refreshRequest) UnmarshalJSON(data []byte) error {
	if err := plainObject(data, "action", "accountId", "force"); err != nil {
		return err
	}
	type plain refreshRequest
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(q))
}

// plainObject says what is wrong with an object's keys, of which only these are known; nil for what is no object.
func plainObject(data []byte, known ...string) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil //nolint:nilerr // whoever decodes it says so
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		switch name := fmt.Sprint(key); {
		case seen[name]:
			return fmt.Errorf("field %q is given twice", name)
		case !slices.Contains(known, name):
			return fmt.Errorf("unknown field %q", name)
		case string(value) == "null":
			return fmt.Errorf("field %q is null: leave it out, or give it a value", name)
		default:
			seen[name] = true
		}
	}
	return nil
}

// readBody decodes strict JSON; it answers 400 or 413 itself.
func readBody(w http.ResponseWriter, r *http.Request, v any, example string) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		fail(w, http.StatusRequestEntityTooLarge, "body-too-large",
			"the body is larger than 64 KiB: send only the documented fields")
		return false
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		fail(w, http.StatusRequestTimeout, "body-too-slow",
			"the body did not come in within "+requestWithin.String()+": send it again")
		return false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err == nil {
		err = d.Decode(v)
	}
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is something after the JSON value")
		}
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "bad-request",
			"reading the body: "+strings.TrimPrefix(err.Error(), "json: ")+": send e.g. "+example)
		return false
	}
	return true
}
