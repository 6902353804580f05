package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	// elsewhere are the notes that this repository does not contain.
	elsewhere = regexp.MustCompile(
		`reference/|\breference [A-Z]\.\d|\binterface(\.md|, section| document)|(re)?design\.md|style\.md|house rule`)
	cited = regexp.MustCompile(`\bdocs/[\w./-]*\.md\b`)
)

// TestFilesCiteOnlyWhatIsInTheRepository: a reader has nothing else. docs/status.md is the authors' own.
func TestFilesCiteOnlyWhatIsInTheRepository(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-co", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	citations := 0
	for file := range strings.Lines(string(out)) {
		file = strings.TrimSpace(file)
		if file == "citations_test.go" || file == "docs/status.md" || strings.Contains(file, "testdata/") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // deleted, and not committed yet
		}
		for i, line := range strings.Split(string(text), "\n") {
			if m := elsewhere.FindString(line); m != "" {
				t.Errorf("%s:%d cites %q, which is not in this repository: say the fact", file, i+1, m)
			}
			for _, doc := range cited.FindAllString(line, -1) {
				citations++
				if _, err := os.Stat(doc); err != nil {
					t.Errorf("%s:%d: %v", file, i+1, err)
				}
			}
		}
	}
	if citations < 30 {
		t.Errorf("only %d citations were found", citations)
	}
}
