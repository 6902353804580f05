package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tokenward/tokenward/cli"
	"github.com/tokenward/tokenward/near"
)

// wrongFlag is the error of flags that cannot be read, with the flag that was meant if one comes near.
func wrongFlag(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		if best := near.Word(unknown.GetSpecifiedName(), known); best != "" {
			return cli.Usagef("%s: %w: did you mean --%s?", cmd.Name(), err, best)
		}
	}
	return cli.Usagef("%s: %w: see %s --help", cmd.Name(), err, cmd.CommandPath())
}

// wrongArguments is the error of arguments that a command does not take: behind one that has commands, of a command
// that it does not have.
func wrongArguments(cmd *cobra.Command, args []string, err error) error {
	if !cmd.HasAvailableSubCommands() || len(args) == 0 {
		return cli.Usagef("%s: %w: see %s --help", cmd.Name(), err, cmd.CommandPath())
	}
	remedy := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if path := meantCommand(cmd, args[0]); path != "" {
		remedy = "did you mean " + path + "?"
	}
	return cli.Usagef("%s has no command %q: %s", cmd.CommandPath(), args[0], remedy)
}

// meantCommand is the path of the command that comes nearest, or of one further down that is called just so; "": none.
func meantCommand(cmd *cobra.Command, word string) string {
	var known []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			known = append(known, sub.Name())
		}
	}
	if best := near.Word(word, known); best != "" {
		return cmd.CommandPath() + " " + best
	}
	for _, sub := range cmd.Commands() {
		for _, below := range sub.Commands() {
			if below.IsAvailableCommand() && strings.EqualFold(below.Name(), word) {
				return below.CommandPath()
			}
		}
	}
	return ""
}
