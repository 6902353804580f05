package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// This file makes docs/configuration.md from the tables, and checks that the page is as good as they are.

const reference = "../docs/configuration.md"

func TestTheReferenceIsMadeFromTheTables(t *testing.T) {
	head, err := os.ReadFile("testdata/reference_head.md")
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.Write(head)
	for _, k := range (&Config{}).whole().rows {
		left := ""
		if k.derived != "" {
			left = " Left out: " + k.derived + "."
		}
		page.WriteString("\n## " + k.name + "\n" + wrapped("", k.meaning+k.rules()+left) + "\n")
		describe(&page, k)
	}
	matchesGolden(t, reference, page.String())
}

// matchesGolden compares with a file, or rewrites it.
func matchesGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: write it with go test ./config -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what it should be; go test ./config -update makes it so (-file +made):\n%s", file, diff)
	}
}

// describe lists the keys below a row.
func describe(page *strings.Builder, top row) {
	below(top, func(path string, k row) {
		facts := []string{k.value.kind}
		if d := k.fallback(); d != "" {
			facts = append(facts, "default: "+d)
		} else if k.value.rows == nil && !strings.HasPrefix(k.value.kind, "not built") {
			facts = append(facts, "default: none")
		}
		page.WriteString(wrapped("  ", "- **`"+path+"`** ("+strings.Join(facts, "; ")+"): "+k.meaning+k.rules()))
	})
}

// below visits the rows below a row, each with its path.
func below(top row, visit func(path string, k row)) {
	prefix := top.name + "."
	if top.value.names {
		prefix += "NAME."
	}
	for _, k := range top.value.rows {
		k.name = prefix + k.name
		visit(k.name, k)
		below(k, visit)
	}
}

// fallback is what counts when the key is left out; "": nothing.
func (k row) fallback() string {
	switch {
	case k.env != "":
		return "what `" + k.env + "` holds"
	case k.preset != "":
		return "`" + k.preset + "`"
	}
	return k.derived
}

func (k row) rules() string {
	rules := slices.DeleteFunc([]string{k.value.rule, k.rule}, func(s string) bool { return s == "" })
	if len(rules) == 0 {
		return ""
	}
	return " Rule: " + strings.Join(rules, "; ") + "."
}

// wrapped breaks a text into lines of 120 columns.
func wrapped(indent, text string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line+" "+word)) > 120:
			lines, line = append(lines, line), indent+word
		default:
			line += " " + word
		}
	}
	return strings.Join(append(lines, line), "\n") + "\n"
}

func TestEveryKeyHasAKindAndASentence(t *testing.T) {
	for _, section := range (&Config{}).whole().rows {
		below(section, func(path string, k row) {
			if k.value.kind == "" || !strings.HasSuffix(k.meaning, ".") || strings.Contains(k.meaning, ". ") {
				t.Errorf("%s: kind %q, meaning %q", path, k.value.kind, k.meaning)
			}
		})
	}
}

// The keys are those that were read and printed, not those of the tables that the page is made from.
func TestEveryKeyThatIsReadOrPrintedIsInTheReference(t *testing.T) {
	page, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	wanted := func(path string) {
		if path = generic(path); path == "" {
			return
		}
		given[path] = true
		if !strings.Contains(string(page), "**`"+path+"`**") && !strings.Contains(string(page), "\n## "+path+"\n") {
			t.Errorf("%s is not in the reference", path)
		}
	}
	for _, text := range everyKey {
		k, err := parse("tokenward.yaml", []byte(text), testKnown, noEnvironment)
		if err != nil {
			t.Fatal(err)
		}
		c, err := k.result()
		if err != nil {
			t.Fatal(err)
		}
		for path := range k.values {
			wanted(path)
		}
		printed(c.whole().show(false), "", wanted)
	}
	for _, section := range (&Config{}).whole().rows {
		below(section, func(path string, _ row) {
			if !given[path] {
				t.Errorf("%s is in the tables, and no test gives it: add it to everyKey", path)
			}
		})
	}
}

var (
	entry   = regexp.MustCompile(`^(providers|pools|upstreams|routes)\.[^.]+`)
	element = regexp.MustCompile(`\[\d+\]$|\.headers\.`)
)

// generic is a path of a file as the reference has it; "": it has none, for an entry, an element or a header.
func generic(path string) string {
	if entry.FindString(path) == path || element.MatchString(path) {
		return ""
	}
	return entry.ReplaceAllString(path, "$1.NAME")
}

// printed visits the paths of what Print shows.
func printed(v any, path string, visit func(path string)) {
	m, ok := v.(mapping)
	if path != "" {
		visit(path)
	}
	if ok {
		for _, f := range m {
			printed(f.value, join(path, f.name), visit)
		}
	}
}

// everyKey are files that give every key there is.
var everyKey = append([]string{whole}, vaults()...)

func vaults() (files []string) {
	const place = "namespace: n, ca_file: v.ca, mount: m, prefix: p, poll: 2s"
	for _, auth := range []string{
		"token_file: t", "approle: { mount: a, role_id: r, secret_id_file: s }",
		"approle: { role_id_file: r, secret_id_file: s }", "kubernetes: { mount: k, role: r, token_file: t }",
		"jwt: { mount: j, role: r, token_file: t }", "cert: { mount: c, role: r, cert_file: c, key_file: k }",
	} {
		files = append(files, smallest+"extproc: { socket_gid: 7 }\nhost: { trusted_folders: [.] }\n"+
			"store: { vault: { address: 'https://vault.example:8200', "+place+", auth: { "+auth+" } } }\n")
	}
	return append(files, smallest+"extproc: { listen: 'tcp://127.0.0.1:1', insecure_loopback: true }\n")
}

var fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

func TestTheExamplesInTheDocumentsLoad(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := fence.FindAllStringSubmatch(string(text), -1)
		if file == reference && len(blocks) < 2 {
			t.Errorf("%s has lost its examples", file)
		}
		for _, b := range blocks {
			example := b[1]
			if !strings.Contains(example, "routes:") {
				example += smallest
			}
			k, err := parse(filepath.Base(file), []byte(example), testKnown, noEnvironment)
			if err == nil {
				_, err = k.result()
			}
			if err != nil {
				t.Errorf("%v\n%s", err, example)
			}
		}
	}
}
