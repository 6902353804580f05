package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tokenward/tokenward/near"
)

// Problem is one thing that is wrong with a file: where, the value, the rule it breaks and what to do.
type Problem struct {
	File   string // base name
	Line   int    // 0 when no line is to blame
	Path   string // routes.messages.attempts
	Value  string // "" when there is none
	Rule   string
	Remedy string
}

func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Path != "" {
		s += ": " + strings.Trim(strconv.Quote(p.Path), `"`) // a key of the file may hold a line break
	}
	if p.Value != "" {
		s += ": " + fmt.Sprintf("%q", p.Value)
	}
	s += ": " + p.Rule
	if p.Remedy != "" {
		s += "; " + p.Remedy
	}
	return s
}

// Problems is everything that is wrong with a file, in the order of its lines.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int { return a.Line - b.Line })
	return p
}

// meant asks whether the nearest word was meant; otherwise is what to do when there is none.
func meant(word string, known []string, otherwise string) string {
	if best := near.Word(word, known); best != "" {
		return "did you mean " + best + "?"
	}
	return otherwise
}
