package main

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
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

var goFile = regexp.MustCompile(`[\w./*-]+\.go\b`)

// TestDocumentsNameFilesThatAreThere: a path counts from the root of the repository, a bare name is that of any file.
func TestDocumentsNameFilesThatAreThere(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-co", "--exclude-standard", "*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	where := map[string][]string{}
	for file := range strings.Lines(string(out)) {
		file = strings.TrimSpace(file)
		if _, err := os.Stat(file); err == nil {
			where[path.Base(file)] = append(where[path.Base(file)], file)
		}
	}
	names := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		documents, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range documents {
			text, err := os.ReadFile(document)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range goFile.FindAllString(string(text), -1) {
				names++
				base := path.Base(name)
				found, err := filepath.Glob(name)
				if err != nil || len(found) == 0 && (base != name || where[base] == nil) {
					t.Errorf("%s names %s, which is not there; of that name there are %v", document, name, where[base])
				}
			}
		}
	}
	if names < 40 {
		t.Errorf("only %d names of files were found", names)
	}
}
