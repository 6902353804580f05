package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var startsGoroutine = regexp.MustCompile(`\bgo func\(|\bgo \w[\w.]*\(|\.Go\(func\(`)

// TestPackagesThatStartGoroutinesLookForLeaks: whoever starts one can stop it and wait for it.
func TestPackagesThatStartGoroutinesLookForLeaks(t *testing.T) {
	starts, looks, tested := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, pattern := range []string{"*.go", "*/*.go", "*/*/*.go", "*/*/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasPrefix(file, "integration/") { // whole processes are started there
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			folder := filepath.Dir(file)
			if !strings.HasSuffix(file, "_test.go") {
				starts[folder] = starts[folder] || startsGoroutine.Match(text)
				continue
			}
			tested[folder] = true
			looks[folder] = looks[folder] || strings.Contains(string(text), "goleak.VerifyTestMain(") ||
				strings.Contains(string(text), "goleak.Find(")
		}
	}
	found := 0
	for folder, does := range starts {
		if does {
			found++
		}
		tests := folder
		if !tested[folder] { // those of the package above, which uses it
			tests = filepath.Dir(folder)
		}
		if does && !looks[tests] {
			t.Errorf("%s starts goroutines, and the tests in %s do not look for those that are left: "+
				"func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }", folder, tests)
		}
	}
	if found < 5 {
		t.Errorf("only %d packages were found that start goroutines", found)
	}
}
