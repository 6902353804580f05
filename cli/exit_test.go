package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

func TestEveryErrorHasItsExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), ExitFailed},
		{notFound("a"), ExitFailed},
		{Usagef("x"), ExitUsage},
		{fmt.Errorf("while: %w", Usagef("x")), ExitUsage},
		{errors.Join(nil, Usagef("x")), ExitUsage},
		{refusedf("x"), ExitRefused},
		{fmt.Errorf("while: %w", tokenstore.ErrPaused), ExitRefused},
		{fmt.Errorf("while: %w", tokenstore.ErrConflict), ExitRefused},
	} {
		expect(t, fmt.Sprint("exit code of ", c.err), Code(c.err), c.want)
	}
	inner := errors.New("inner")
	expect(t, "the cause can be found", errors.Is(Usagef("x: %w", inner), inner), true)
	expect(t, "the message is the cause's", Usagef("x: %w", inner).Error(), "x: inner")
}
