package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokenward/tokenward/tokenstore"
	"github.com/tokenward/tokenward/tokenstore/journal"
)

func open(t *testing.T, folder string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func entry(attempt string) tokenstore.JournalEntry {
	at := time.Date(2026, 1, 1, 0, 0, int('z'-attempt[0]), 0, time.UTC)
	return tokenstore.JournalEntry{Attempt: attempt, Account: "a", Spent: "0123", At: at, Record: tokenstore.Record{
		Provider: "p", Kind: tokenstore.KindOAuthRefresh, RefreshToken: tokenstore.NewSecret("very-secret-" + attempt), AccessToken: tokenstore.NewSecret("at"),
		Rotation: tokenstore.Rotation{Incarnation: "i", Generation: 4},
	}}
}

func add(t *testing.T, j *journal.Journal, attempts ...string) {
	t.Helper()
	for _, a := range attempts {
		if err := j.Append(entry(a)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEntriesOutliveTheProcessInTheirOrderUntilTheyAreRemoved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data", "journal")
	add(t, open(t, folder), "z", "y", "x")
	j := open(t, folder)
	if err := j.Remove("y"); err != nil {
		t.Fatal(err)
	}
	if err := j.Remove("never-there"); err != nil {
		t.Error(err)
	}
	got, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]tokenstore.JournalEntry{entry("z"), entry("x")}, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
}

func TestNoSecretIsOnTheDiskAndOnlyTheOwnerReadsIt(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "journal")
	add(t, open(t, folder), "one")
	for path, want := range map[string]os.FileMode{folder: 0o700, folder + ".key": 0o600, filepath.Join(folder, "one.rotation"): 0o600} {
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	data, err := os.ReadFile(filepath.Join(folder, "one.rotation"))
	if err != nil || strings.Contains(string(data), "very-secret") {
		t.Errorf("the entry is in clear, or %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".new-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestASpoiltSwappedOrForeignEntryIsReportedAndStopsNoOther(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "journal")
	j := open(t, folder)
	add(t, j, "good", "spoilt", "renamed")
	if err := os.WriteFile(filepath.Join(folder, "spoilt.rotation"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, "renamed.rotation"), filepath.Join(folder, "other.rotation")); err != nil {
		t.Fatal(err)
	}
	got, err := j.Entries()
	if len(got) != 1 || got[0].Attempt != "good" {
		t.Errorf("entries %+v", got)
	}
	for _, name := range []string{"spoilt.rotation", "other.rotation"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}

// Somebody has the folder but not its key. An entry counts under its own name alone, so that none is taken for another
// attempt's or another account's, and none is removed.
func TestAnEntryUnderTheNameOfAnotherIsRefusedAndKept(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, one, two string){
		"renamed": func(t *testing.T, one, _ string) {
			rename(t, one, filepath.Join(filepath.Dir(one), "three.rotation"))
		},
		"renamed over another": func(t *testing.T, one, two string) { rename(t, one, two) },
		"copied over another": func(t *testing.T, one, two string) {
			data, _ := os.ReadFile(one)
			if err := os.WriteFile(two, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"swapped": func(t *testing.T, one, two string) {
			rename(t, one, one+".kept")
			rename(t, two, one)
			rename(t, one+".kept", two)
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "journal")
			j := open(t, folder)
			add(t, j, "good", "one")
			other := entry("two")
			other.Account = "b"
			if err := j.Append(other); err != nil {
				t.Fatal(err)
			}
			one, two := filepath.Join(folder, "one.rotation"), filepath.Join(folder, "two.rotation")
			change(t, one, two)
			before, _ := filepath.Glob(filepath.Join(folder, "*"))
			got, err := open(t, folder).Entries()
			sound := map[string]tokenstore.JournalEntry{"good": entry("good"), "one": entry("one"), "two": other}
			for _, e := range got {
				if diff := cmp.Diff(sound[e.Attempt], e); diff != "" {
					t.Errorf("an entry counts for another (-want +got):\n%s", diff)
				}
			}
			if err == nil || !strings.Contains(err.Error(), ".rotation: it cannot be opened with the key") {
				t.Errorf("got %v", err)
			}
			if after, _ := filepath.Glob(filepath.Join(folder, "*")); !slices.Equal(before, after) {
				t.Errorf("files were %q, are %q", before, after)
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyThatIsWrongOrOpenIsRefusedAndNoEntryIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		words   string
	}{
		"an object": {"{}", 0o600, "no Tink keyset"}, "empty": {"", 0o600, "no Tink keyset"},
		"read by all": {"", 0o644, "chmod 600"}, "read by the group": {"", 0o640, "chmod 600"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "journal")
			add(t, open(t, folder), "one")
			right, err := os.ReadFile(folder + ".key")
			if err != nil {
				t.Fatal(err)
			}
			if c.mode == 0o600 {
				err = os.WriteFile(folder+".key", []byte(c.content), 0o600)
			} else {
				err = os.Chmod(folder+".key", c.mode)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = journal.Open(folder)
			if err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), folder+".key") {
				t.Errorf("got %v", err)
			}
			if err := errors.Join(os.Chmod(folder+".key", 0o600), os.WriteFile(folder+".key", right, 0o600)); err != nil {
				t.Fatal(err)
			}
			if got, err := open(t, folder).Entries(); err != nil || len(got) != 1 {
				t.Errorf("%d entries, %v", len(got), err)
			}
		})
	}
}

func TestAMissingKeyIsNotReplacedWhileThereAreEntries(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "journal")
	add(t, open(t, folder), "one")
	if err := os.Remove(folder + ".key"); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(folder); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("got %v", err)
	}
}

func TestAFolderThatCannotBeMadeIsNamedWithItsSetting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(filepath.Join(file, "journal")); err == nil || !strings.Contains(err.Error(), "store.journal_dir") {
		t.Errorf("got %v", err)
	}
}

func TestManyWritersShareAFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "journal")
	var group sync.WaitGroup
	for p := range 4 {
		j := open(t, folder)
		for i := range 10 {
			group.Go(func() {
				if err := j.Append(entry(fmt.Sprintf("%d-%d", p, i))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	if got, err := open(t, folder).Entries(); err != nil || len(got) != 40 {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

func BenchmarkAppendAndRemove(b *testing.B) {
	j, err := journal.Open(filepath.Join(b.TempDir(), "journal"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := j.Append(entry("one")); err != nil {
			b.Fatal(err)
		}
		if err := j.Remove("one"); err != nil {
			b.Fatal(err)
		}
	}
}
