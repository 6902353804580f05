package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ofEach are the fields that docs/events.md tells of once, for all events.
var ofEach = []string{"event", "account", "provider", "request_id", "attempt", "advice"}

// told is what the code logs: the names of events, each with the fields that stand in the call that writes it.
type told struct {
	events map[string][]string
	fields map[string]bool // of all events and of other lines
}

// readEvents looks for events in the source: the keys of a map named events, and whatever a call of event, tell or
// zap.String("event", …) names.
func readEvents(t *testing.T) told {
	t.Helper()
	all := told{map[string][]string{}, map[string]bool{}}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == "integration" || path != "." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				all.addMap(n)
			case *ast.CallExpr:
				all.addCall(n)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (a told) addMap(n *ast.ValueSpec) {
	if n.Names[0].Name != "events" || len(n.Values) == 0 {
		return
	}
	list, ok := n.Values[0].(*ast.CompositeLit)
	if !ok {
		return
	}
	for _, e := range list.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			a.add(literal(pair.Key))
		}
	}
}

func (a told) addCall(n *ast.CallExpr) {
	if f := field(n); f != "" {
		a.fields[f] = true
	}
	name := ""
	switch called := function(n); {
	case (called == "event" || called == "eventOf" || called == "tell" || called == "Event") && len(n.Args) > 0:
		name = literal(n.Args[0])
	case called == "Info" || called == "Warn" || called == "Error":
		ast.Inspect(n, func(in ast.Node) bool {
			if c, ok := in.(*ast.CallExpr); ok && field(c) == "event" {
				name = literal(c.Args[1])
			}
			return true
		})
	case field(n) == "event":
		a.add(literal(n.Args[1]))
	}
	if name == "" {
		return
	}
	a.add(name)
	ast.Inspect(n, func(in ast.Node) bool {
		if c, ok := in.(*ast.CallExpr); ok && field(c) != "" {
			a.add(name, field(c))
		}
		return true
	})
}

func (a told) add(name string, fields ...string) {
	if name != "" {
		a.events[name] = append(a.events[name], fields...)
	}
}

func function(n *ast.CallExpr) string {
	switch f := n.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// field is the name of the field that a call of zap makes, or of one of our short forms of it.
func field(n *ast.CallExpr) string {
	called := function(n)
	if s, ok := n.Fun.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); !ok || x.Name != "zap" {
			return ""
		}
	} else if !strings.HasPrefix(called, "zap") {
		return ""
	}
	switch {
	case called == "Error" || called == "zapError":
		return "error"
	case len(n.Args) < 2:
		return ""
	case called == "zapDuration":
		if name := literal(n.Args[0]); name != "" {
			return name + "_ms"
		}
	}
	return literal(n.Args[0])
}

func literal(e ast.Expr) string {
	if b, ok := e.(*ast.BasicLit); ok && b.Kind == token.STRING {
		if s, err := strconv.Unquote(b.Value); err == nil {
			return s
		}
	}
	return ""
}

func TestEveryEventIsInTheDocument(t *testing.T) {
	code, document := readEvents(t), rowsOf(t, "docs/events.md", "# Events in the log")
	if len(code.events) < 25 {
		t.Fatalf("only %d events were found in the code", len(code.events))
	}
	for name, fields := range code.events {
		row, ok := document[name]
		if !ok {
			t.Errorf("docs/events.md does not tell of %s", name)
			continue
		}
		for _, f := range fields {
			if !slices.Contains(ofEach, f) && !strings.Contains(row, "`"+f+"`") {
				t.Errorf("docs/events.md does not tell of the field %s of %s", f, name)
			}
		}
	}
	for name, row := range document {
		if _, ok := code.events[name]; !ok {
			t.Errorf("docs/events.md tells of %s, which nothing logs", name)
		}
		cells := strings.Split(row, " | ")
		for _, m := range quoted.FindAllStringSubmatch(cells[len(cells)-1], -1) {
			if !code.fields[m[1]] {
				t.Errorf("docs/events.md tells of the field %s of %s, which nothing logs", m[1], name)
			}
		}
	}
}
