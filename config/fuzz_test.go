package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad: any bytes either load, and then what is printed loads too, or are refused with one line per problem.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", smallest, whole, string(Starter()), "a: &a [*a]", "&a { <<: *a }", "---\n---\n",
		"routes: &r { r: *r }", "? [a]\n: b", "- a", "\x00", "\xff\xfe",
	} {
		f.Add([]byte(seed))
	}
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c *Config
		k, err := parse("tokenward.yaml", data, testKnown, environment("SECRET_TOKEN", secret))
		if err == nil {
			c, err = k.result()
		}
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("refused with %v, want Problems", err)
			}
			if lines := strings.Count(err.Error(), "\n") + 1; lines != len(problems) {
				t.Fatalf("%d problems in %d lines:\n%v", len(problems), lines, err)
			}
			return
		}
		c.resolvePaths(string(filepath.Separator))
		printed, err := Print(c)
		if err != nil {
			t.Fatalf("loads, but does not print: %v", err)
		}
		if variable.Match(printed) {
			return // what a variable's default spells: there is no way to write that it is none
		}
		k, err = parse("tokenward.yaml", printed, testKnown, noEnvironment)
		if err == nil {
			_, err = k.result()
		}
		if err != nil {
			t.Fatalf("what is printed does not load: %v\n%s", err, printed)
		}
	})
}
