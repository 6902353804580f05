package cli

import (
	"errors"
	"fmt"

	"github.com/tokenward/tokenward/tokenstore"
)

// Exit codes of every command.
const (
	ExitFailed     = 1
	ExitUsage      = 2
	ExitRefused    = 3
	ExitNeedsHuman = 4 // done, and something needs a human
)

// ExitError carries the exit code with the message.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

func (e *ExitError) Unwrap() error { return e.Err }

// Usagef makes an error for wrong usage or invalid configuration.
func Usagef(format string, args ...any) error {
	return &ExitError{ExitUsage, fmt.Errorf(format, args...)}
}

func refusedf(format string, args ...any) error {
	return &ExitError{ExitRefused, fmt.Errorf(format, args...)}
}

// Code maps an error to the exit code.
func Code(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, tokenstore.ErrPaused), errors.Is(err, tokenstore.ErrConflict):
		return ExitRefused
	}
	return ExitFailed
}
