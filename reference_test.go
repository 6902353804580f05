package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

const (
	generatedFrom = "<!-- Generated from the code: make golden -->\n"
	generatedTo   = "<!-- End of what is generated -->\n"
)

// isGenerated compares what a document has between its marks with what the code says. With -update it writes it.
func isGenerated(t *testing.T, file, want string) {
	t.Helper()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(whole), generatedFrom)
	has, after, ends := strings.Cut(rest, generatedTo)
	if !begins || !ends {
		t.Fatalf("%s lacks one of its marks: %s %s", file, generatedFrom, generatedTo)
	}
	want = "\n" + strings.Trim(want, "\n") + "\n\n"
	if has == want {
		return
	}
	if !*update {
		t.Errorf("%s is not what the code says: run make golden. (-document +code)\n%s", file, cmp.Diff(has, want))
		return
	}
	if err := os.WriteFile(file, []byte(before+generatedFrom+want+generatedTo+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEveryDecisionIsInTheIndex(t *testing.T) {
	files, err := filepath.Glob("docs/decisions/[0-9]*.md")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d decisions: %v", len(files), err)
	}
	var index strings.Builder
	numbers := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		number, title, ok := strings.Cut(strings.TrimPrefix(first, "# "), ". ")
		name := filepath.Base(file)
		if !ok || strings.TrimLeft(name[:4], "0") != number || name[4] != '-' {
			t.Errorf("%s begins with %q: want the number of its name, as in # 7. Title", file, first)
		}
		if other := numbers[number]; other != "" {
			t.Errorf("%s and %s have one number", other, name)
		}
		numbers[number] = name
		index.WriteString("- [" + number + ". " + title + "](" + name + ")\n")
	}
	isGenerated(t, "docs/decisions/README.md", index.String())
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func TestLinksOfDocumentsLeadToFiles(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	links := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if links < 25 {
		t.Errorf("only %d links were found", links)
	}
}

// Each release of the changelog has these parts, in this order; it need not have them all.
var parts = []string{"Breaking", "Security", "Added", "Changed", "Fixed", "Not there yet"}

func TestTheChangelogIsSortedByWhatItMeansToOperators(t *testing.T) {
	text, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for i, line := range strings.Split(string(text), "\n") {
		switch title, isPart := strings.CutPrefix(line, "### "); {
		case strings.HasPrefix(line, "## "):
			at = 0
		case isPart:
			for at < len(parts) && parts[at] != title {
				at++
			}
			if at == len(parts) {
				t.Fatalf("CHANGELOG.md:%d: %q is none of %v, or out of order", i+1, title, parts)
			}
		case strings.HasPrefix(line, "- ") && (at < 0 || len([]rune(line)) > 120):
			t.Errorf("CHANGELOG.md:%d: outside of a part, or longer than 120 columns", i+1)
		}
	}
	if at < 0 {
		t.Error("there is no release")
	}
}
