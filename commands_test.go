package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandIsInTheDocument(t *testing.T) {
	var b strings.Builder
	count := 0
	var describe func(c *cobra.Command)
	describe = func(c *cobra.Command) {
		if c.Hidden || c.Deprecated != "" {
			return
		}
		count++
		c.InitDefaultHelpFlag()
		c.Flags().Lookup("help").Hidden = true
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n", c.CommandPath(), strings.TrimRight(c.Short, "."))
		if c.Long != "" && c.Long != c.Short {
			fmt.Fprintf(&b, "```text\n%s\n```\n\n", strings.TrimSpace(c.Long))
		}
		if c.Runnable() {
			usage := strings.TrimSpace(c.UseLine() + "\n\n" + strings.TrimRight(c.LocalFlags().FlagUsagesWrapped(110), "\n"))
			fmt.Fprintf(&b, "```text\n%s\n```\n\n", usage)
		}
		if c.Example != "" {
			fmt.Fprintf(&b, "```text\n%s\n```\n\n", strings.TrimRight(c.Example, "\n"))
		}
		for _, sub := range c.Commands() {
			describe(sub)
		}
	}
	top := root()
	top.InitDefaultHelpCmd()
	top.InitDefaultCompletionCmd()
	for _, c := range top.Commands() {
		if c.Name() != "help" && c.Name() != "completion" { // cobra's own
			describe(c)
		}
	}
	if count < 15 {
		t.Fatalf("only %d commands were found", count)
	}
	isGenerated(t, "docs/commands.md", b.String())
}

func TestEveryExitCodeIsInTheDocument(t *testing.T) {
	codes := map[string]bool{"0": true}
	file, err := parser.ParseFile(token.NewFileSet(), "cli/exit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(v.Names[0].Name, "Exit") {
			codes[v.Values[0].(*ast.BasicLit).Value] = true
		}
		return true
	})
	if len(codes) < 4 {
		t.Fatalf("only %v were found in cli/exit.go", codes)
	}
	got := slices.Sorted(maps.Keys(rowsOf(t, "docs/commands.md", "## Exit codes")))
	if want := slices.Sorted(maps.Keys(codes)); !slices.Equal(got, want) {
		t.Errorf("docs/commands.md explains %v, the code has %v", got, want)
	}
}
