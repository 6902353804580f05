package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tokenward/tokenward/tokenstore"
)

// few is how many accounts are told of one by one; more become a count.
const few = 10

// tally gathers what became of many accounts.
type tally struct {
	done  []string               // one sentence each
	exist []tokenstore.AccountID // left as they are
	first error                  // of those
	errs  []error
}

func (t *tally) add(id tokenstore.AccountID, became string, err error) {
	switch {
	case err == nil:
		t.done = append(t.done, fmt.Sprintf("account %s %s", id, became))
	case errors.Is(err, errExists):
		if t.exist = append(t.exist, id); len(t.exist) <= few {
			t.first = errors.Join(t.first, err)
		}
	default:
		t.errs = append(t.errs, err)
	}
}

// report says it: what was done on standard output, the rest as an error.
func (t *tally) report(a *app, cmd *cobra.Command) error {
	if len(t.done) > few {
		t.done = []string{fmt.Sprintf("%d accounts are imported", len(t.done))}
	}
	for _, line := range t.done {
		if err := a.done(cmd, "%s", line); err != nil {
			return err
		}
	}
	if n := len(t.exist); n > few {
		names := make([]string, few)
		for i := range names {
			names[i] = string(t.exist[i])
		}
		t.first = refusedf(
			"importing: %d accounts exist and were left as they are (%s, …): their refresh tokens may be newer than the "+
				"file's: give --replace to overwrite them",
			n, strings.Join(names, ", "),
		)
	}
	return errors.Join(append([]error{t.first}, t.errs...)...)
}
