package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// secret is what the environment of these tests holds, and what the bad files hold where no secret belongs.
const secret = "sk-very-secret"

func TestEveryBadFileIsRefusedWithTheMessagesOfItsGoldenFile(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/bad has no files (%v)", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(file, testKnown, environment("SECRET_TOKEN", secret))
			if _, ok := errors.AsType[Problems](err); !ok {
				t.Fatalf("Load returned %v, want Problems", err)
			}
			folder, err2 := filepath.Abs(filepath.Dir(file))
			if err2 != nil {
				t.Fatal(err2)
			}
			got := strings.ReplaceAll(err.Error(), folder, "/folder") + "\n"
			if strings.Contains(got, secret) {
				t.Errorf("a message shows a secret:\n%s", got)
			}
			matchesGolden(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
		})
	}
}

func TestTheMessagesOfOneFileAreTheSameEveryTime(t *testing.T) {
	const file = "testdata/bad/listeners.yaml"
	_, first := Load(file, testKnown, noEnvironment)
	if first == nil {
		t.Fatal("a bad file was accepted")
	}
	for range 50 {
		if _, again := Load(file, testKnown, noEnvironment); again == nil || again.Error() != first.Error() {
			t.Fatalf("first:\n%v\nthen:\n%v", first, again)
		}
	}
}

func TestAProblemIsOneLineWithPlacePathValueRuleAndRemedy(t *testing.T) {
	for want, p := range map[string]Problem{
		`tokenward.yaml:12: routes.messages.attempts: "0": must be 1 to 10; set it to 4`: {
			"tokenward.yaml", 12,
			"routes.messages.attempts", "0", "must be 1 to 10", "set it to 4",
		},
		`tokenward.yaml: routes: must have at least one route`: {
			File: "tokenward.yaml",
			Path: "routes", Rule: "must have at least one route",
		},
		`tokenward.yaml:1: a\nb: "c\nd": is wrong`: {
			File: "tokenward.yaml",
			Line: 1, Path: "a\nb", Value: "c\nd", Rule: "is wrong",
		},
	} {
		if got := p.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestProblemsAreInTheOrderOfTheirLines(t *testing.T) {
	_, err := load(t, "log: { level: loud }\nextproc: { listen: nowhere }\nroutes: { messages: { upstreams: [ghost] } }\n", noEnvironment)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("Load returned %v, want Problems", err)
	}
	var lines []int
	for _, p := range problems {
		lines = append(lines, p.Line)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s\n%v", diff, err)
	}
}

func TestAFileThatCannotBeReadIsAnErrorThatSaysWhatToDo(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "tokenward.yaml"), testKnown, noEnvironment)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "tokenward init") {
		t.Errorf("got %v, want fs.ErrNotExist and a hint at tokenward init", err)
	}
}
