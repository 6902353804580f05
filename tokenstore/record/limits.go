package record

import (
	"encoding/json"
	"fmt"
)

// Limits are what each process may give to an account: replicas know nothing of each other's attempts.
type Limits struct {
	RPM int // attempts begun in any 60 seconds, 1 to 100000; 0: any number
	// attempts at once, until the provider's response headers are in, 1 to 100000; 0: any number
	Concurrency int
	Extra       map[string]json.RawMessage // keys inside limits that this version does not know, kept like Record.Extra
}

// limitMost bounds both limits; a window takes 8 bytes for each attempt that it counts.
const limitMost = 100_000

// Validate reports a limit that is out of range, as a *Error.
func (l Limits) Validate() error {
	for key, n := range map[string]int{"rpm": l.RPM, "concurrency": l.Concurrency} {
		if n < 0 || n > limitMost {
			return limitError(key)
		}
	}
	return nil
}

func limitError(key string) *Error {
	return &Error{
		Key:  "limits." + key,
		Rule: fmt.Sprintf("must be a whole number from 1 to %d; 0, null or no %s means no limit", limitMost, key),
	}
}
