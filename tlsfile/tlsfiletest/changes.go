package tlsfiletest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Contents are files by name.
type Contents map[string][]byte

// Change is one way in which files change.
type Change struct {
	Name  string
	Taken bool // what comes is to be used; else what was there before stays in use, and that is told
	// From and To are the time of the certificate that comes, from now on; zero: it is in force.
	From, To time.Duration

	linked bool // the files are links, as Kubernetes makes them
	do     func(t testing.TB, dir string, next Contents)
}

// Changes are all ways. Of several files the first by name is the one that suffers.
func Changes() []Change {
	return []Change{
		{Name: "renamed into place", Taken: true, do: rename},
		{Name: "written in place", Taken: true, do: write},
		{Name: "removed and written anew", Taken: true, do: func(t testing.TB, dir string, next Contents) {
			remove(t, dir, next)
			write(t, dir, next)
		}},
		{Name: "a link set anew, as Kubernetes does it", Taken: true, linked: true, do: relink},
		{Name: "half of what belongs together", do: half},
		{Name: "cut off", do: func(t testing.TB, dir string, next Contents) {
			name := first(next)
			write(t, dir, Contents{name: next[name][:len(next[name])*2/3]})
		}},
		{Name: "empty", do: func(t testing.TB, dir string, next Contents) { write(t, dir, Contents{first(next): nil}) }},
		{Name: "no PEM", do: func(t testing.TB, dir string, next Contents) {
			write(t, dir, Contents{first(next): []byte("wrong\n")})
		}},
		{Name: "deleted", do: remove},
		{Name: "a link that leads nowhere", linked: true, do: func(t testing.TB, dir string, _ Contents) {
			must(t, os.RemoveAll(filepath.Join(dir, "..v1")))
		}},
		{Name: "not to be read", do: func(t testing.TB, dir string, next Contents) { // a folder, since root reads every file
			remove(t, dir, next)
			must(t, os.Mkdir(filepath.Join(dir, first(next)), 0o700))
		}},
		{Name: "ended", From: -2 * time.Hour, To: -time.Hour, do: rename},
		{Name: "not begun", From: time.Hour, To: 2 * time.Hour, do: rename},
	}
}

// Timed reports whether the certificate that comes is not in force.
func (c Change) Timed() bool { return c.To != 0 }

// Begin writes the files as they are before the change, and returns their folder.
func (c Change) Begin(t testing.TB, was Contents) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if !c.linked {
		write(t, dir, was)
		return dir
	}
	must(t, os.Mkdir(filepath.Join(dir, "..v1"), 0o700))
	write(t, filepath.Join(dir, "..v1"), was)
	must(t, os.Symlink("..v1", filepath.Join(dir, "..data")))
	for name := range was {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	return dir
}

// Do makes the change. next are all of the files.
func (c Change) Do(t testing.TB, dir string, next Contents) {
	t.Helper()
	c.do(t, dir, next)
}

// Mend puts good files in the place of whatever is there.
func (c Change) Mend(t testing.TB, dir string, next Contents) {
	t.Helper()
	for name := range next {
		must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	write(t, dir, next)
}

func first(c Contents) string { return slices.Sorted(maps.Keys(c))[0] }

func write(t testing.TB, dir string, c Contents) {
	t.Helper()
	for name, data := range c {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
}

func rename(t testing.TB, dir string, c Contents) {
	t.Helper()
	for name, data := range c {
		must(t, os.WriteFile(filepath.Join(dir, "."+name), data, 0o600))
		must(t, os.Rename(filepath.Join(dir, "."+name), filepath.Join(dir, name)))
	}
}

func remove(t testing.TB, dir string, c Contents) {
	t.Helper()
	must(t, os.Remove(filepath.Join(dir, first(c))))
}

// half writes one file of several, or half of the only one.
func half(t testing.TB, dir string, next Contents) {
	t.Helper()
	name := first(next)
	data := next[name]
	if len(next) == 1 {
		data = data[:len(data)/2]
	}
	write(t, dir, Contents{name: data})
}

func relink(t testing.TB, dir string, next Contents) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "..v2"), 0o700))
	write(t, filepath.Join(dir, "..v2"), next)
	must(t, os.Symlink("..v2", filepath.Join(dir, "..tmp")))
	must(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
	must(t, os.RemoveAll(filepath.Join(dir, "..v1")))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
