package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// most is how many faults a mutant may take to be caught.
const most = 200_000

// TestTheSimulationCatchesPlantedFaults runs the first ten mutants; with MUTANTS=all every one, with a name those that
// match it.
func TestTheSimulationCatchesPlantedFaults(t *testing.T) {
	chosen := all[:10]
	switch want := os.Getenv("MUTANTS"); want {
	case "":
	case "all":
		chosen = all
	default:
		chosen = slices.DeleteFunc(slices.Clone(all), func(m mutant) bool { return !strings.Contains(m.name, want) })
	}
	if len(chosen) == 0 {
		t.Fatal("no mutant has that in its name")
	}
	sound := mutant{name: "none", file: "doc.go"}.build(t)
	for _, m := range chosen {
		t.Run(m.name, func(t *testing.T) {
			faults, seed, how := hunt(t, m.build(t), "1", most)
			if seed != "" {
				if _, _, too := hunt(t, sound, seed, 1); too != "" {
					t.Fatalf("the source without a mutant fails at seed %s as well, mend that first: %s", seed, too)
				}
			}
			if how == "" {
				t.Errorf("%s (%s) survives %d faults", m.name, m.file, faults)
				return
			}
			t.Logf("simulation: the mutant %q is caught after %d faults: %s", m.name, faults, how)
		})
	}
}

// TestEveryMutantIsInTheSource finds each text exactly once.
func TestEveryMutantIsInTheSource(t *testing.T) {
	for _, m := range all {
		if _, err := m.mutate(); err != nil {
			t.Error(err)
		}
	}
}

func (m mutant) path() string { return filepath.Join("..", "..", filepath.FromSlash(m.file)) }

func (m mutant) mutate() (string, error) {
	source, err := os.ReadFile(m.path())
	if err != nil || m.old == "" {
		return string(source), err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("mutant %q: its text is %d times in %s, not once: take the text that does the same now",
			m.name, n, m.file)
	}
	return strings.Replace(string(source), m.old, m.new, 1), nil
}

// build compiles the simulation over the mutated file.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	source, err := m.mutate()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	mutated, overlay, binary := filepath.Join(folder, "mutated.go"), filepath.Join(folder, "overlay.json"),
		filepath.Join(folder, "simulation.test")
	path, err := filepath.Abs(m.path())
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, mutated, source)
	write(t, overlay, string(data))
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building mutant %q: %v\n%s", m.name, err, out)
	}
	return binary
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var caught = regexp.MustCompile(`caught after (\d+) faults by seed (\d+): (.*)`)

// hunt plays seeds until one fails; how is "" if none does. A mutant that hangs or panics is caught as well.
func hunt(t *testing.T, binary, first string, most int) (faults int, seed, how string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^TestNoSeedBreaksTheProtocol$", "-test.v", "-test.timeout",
		"15m")
	cmd.Env = append(os.Environ(), "HUNT=1", "SEED="+first, "FAULTS="+strconv.Itoa(most))
	out, err := cmd.CombinedOutput()
	if found := caught.FindSubmatch(out); found != nil {
		faults, _ = strconv.Atoi(string(found[1]))
		return faults, string(found[2]), string(found[3])
	}
	if err != nil {
		return 0, "", "it breaks down: " + firstLine(string(out))
	}
	return most, "", ""
}

func firstLine(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "panic") || strings.Contains(line, "fatal") || strings.Contains(line, "deadlock") {
			return strings.TrimSpace(line)
		}
	}
	return "no word"
}
