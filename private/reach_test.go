package private_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenward/tokenward/private"
)

const somebody = 65534

// disk is a folder to build a case in; none of it depends on the umask.
type disk struct {
	*testing.T
	root string
}

func (d disk) path(name string) string { return filepath.Join(d.root, name) }

func (d disk) folder(name string, mode fs.FileMode) {
	d.Helper()
	d.must(os.MkdirAll(d.path(name), 0o700))
	d.must(os.Chmod(d.path(name), mode))
}

func (d disk) file(name string, mode fs.FileMode) {
	d.Helper()
	d.must(os.WriteFile(d.path(name), []byte("was there"), 0o600))
	d.must(os.Chmod(d.path(name), mode))
}

func (d disk) link(target, name string) {
	d.Helper()
	d.must(os.Symlink(target, d.path(name)))
}

// give makes somebody else the owner, which only root can.
func (d disk) give(name string) {
	d.Helper()
	if os.Geteuid() != 0 {
		d.Skip("only root can give files away")
	}
	d.must(os.Lchown(d.path(name), somebody, somebody))
}

// group makes it a group's that is not ours alone.
func (d disk) group(name string) {
	d.Helper()
	if os.Geteuid() != 0 {
		d.Skip("only root can give files away")
	}
	d.must(os.Chown(d.path(name), 0, somebody))
}

func (d disk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func TestWhatAnotherUserCouldChangeIsRefused(t *testing.T) {
	folder, file := private.Host.Folder, private.Host.File
	for name, c := range map[string]struct {
		make    func(d disk)
		check   func(private.Host, string) error
		path    string
		trusted string
		part    string // of the error; "": it is accepted
	}{
		"a folder of ours":                       {func(d disk) { d.folder("a", 0o700) }, folder, "a", "", ""},
		"readable by all":                        {func(d disk) { d.folder("a", 0o755) }, folder, "a", "", ""},
		"a missing one":                          {func(disk) {}, folder, "a/b", "", ""},
		"writable by all":                        {func(d disk) { d.folder("a", 0o777) }, folder, "a", "", "mode 0777"},
		"writable by all but sticky":             {func(d disk) { d.folder("a", 0o777|fs.ModeSticky) }, folder, "a", "", "mode 1777"},
		"writable by others alone":               {func(d disk) { d.folder("a", 0o702) }, folder, "a", "", "mode 0702"},
		"writable by the group":                  {func(d disk) { d.folder("a", 0o770) }, folder, "a", "", "mode 0770"},
		"of somebody else":                       {func(d disk) { d.folder("a", 0o700); d.give("a") }, folder, "a", "", "belongs to user 65534"},
		"below one that all may write":           {func(d disk) { d.folder("a/b", 0o700); d.folder("a", 0o777) }, folder, "a/b", "", "a can be written"},
		"missing, below such a one":              {func(d disk) { d.folder("a", 0o777) }, folder, "a/b", "", "a can be written"},
		"below a sticky one":                     {func(d disk) { d.folder("a/b", 0o700); d.folder("a", 0o777|fs.ModeSticky) }, folder, "a/b", "", ""},
		"missing, below a sticky one":            {func(d disk) { d.folder("a", 0o777|fs.ModeSticky) }, folder, "a/b", "", ""},
		"below somebody else's":                  {func(d disk) { d.folder("a/b", 0o700); d.give("a") }, folder, "a/b", "", "a belongs to user"},
		"below one that our own group may write": {func(d disk) { d.folder("a/b", 0o700); d.folder("a", 0o775) }, folder, "a/b", "", ""},
		"below one that a group may write":       {func(d disk) { d.folder("a/b", 0o700); d.folder("a", 0o775); d.group("a") }, folder, "a/b", "", "a can be written"},
		"by a link to ours":                      {func(d disk) { d.folder("a", 0o700); d.link("a", "l") }, folder, "l", "", ""},
		"by a link to an open one":               {func(d disk) { d.folder("a", 0o777); d.link("a", "l") }, folder, "l", "", "a can be written"},
		"by a link through an open one":          {func(d disk) { d.folder("a", 0o777); d.folder("b", 0o700); d.link("a/../b", "l") }, folder, "l", "", "a can be written"},
		"by somebody else's link to ours":        {func(d disk) { d.folder("a", 0o700); d.link("a", "l"); d.give("l") }, folder, "l", "", "l belongs to user"},
		"by a link in a circle":                  {func(d disk) { d.link("l", "l") }, folder, "l", "", "too many symbolic links"},
		"open and trusted":                       {func(d disk) { d.folder("a", 0o777) }, folder, "a", "a", ""},
		"below an open and trusted one":          {func(d disk) { d.folder("a/b", 0o700); d.folder("a", 0o777) }, folder, "a/b", "a", ""},
		"open, below a trusted one":              {func(d disk) { d.folder("a/b", 0o777) }, folder, "a/b", "a", "b can be written"},
		"open, beside a trusted one":             {func(d disk) { d.folder("a", 0o777); d.folder("b", 0o777) }, folder, "b", "a", "b can be written"},
		"a file of ours":                         {func(d disk) { d.file("f", 0o600) }, file, "f", "", ""},
		"a missing file":                         {func(disk) {}, file, "a/f", "", ""},
		"a file that all may write":              {func(d disk) { d.file("f", 0o602) }, file, "f", "", "f can be written"},
		"a file that the group may write":        {func(d disk) { d.file("f", 0o620) }, file, "f", "", "f can be written"},
		"a file of somebody else":                {func(d disk) { d.file("f", 0o600); d.give("f") }, file, "f", "", "f belongs to user"},
		"a file in an open folder":               {func(d disk) { d.folder("a", 0o777); d.file("a/f", 0o600) }, file, "a/f", "", "a can be written"},
		"a file in a sticky folder":              {func(d disk) { d.folder("a", 0o777|fs.ModeSticky); d.file("a/f", 0o600) }, file, "a/f", "", "a can be written"},
		"a link to a file of somebody else":      {func(d disk) { d.file("f", 0o600); d.give("f"); d.link("f", "l") }, file, "l", "", "f belongs to user"},
		"a link to a file in an open folder":     {func(d disk) { d.folder("a", 0o777); d.file("a/f", 0o600); d.link("a/f", "l") }, file, "l", "", "a can be written"},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk{t, t.TempDir()}
			c.make(d)
			var h private.Host
			if c.trusted != "" {
				h.Trusted = []string{d.path(c.trusted)}
			}
			err := c.check(h, d.path(c.path))
			if c.part == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.part) {
				t.Errorf("got %v, want an error with %q", err, c.part)
			}
		})
	}
}

func TestAMissingFolderIsMadeForUsAlone(t *testing.T) {
	d := disk{t, t.TempDir()}
	d.must(private.Host{}.Folder(d.path("a/b")))
	if st, err := os.Stat(d.path("a/b")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
}

func TestRootTrustsWhoCalledItBySudo(t *testing.T) {
	d := disk{t, t.TempDir()}
	d.folder("a", 0o700)
	d.give("a")
	t.Setenv("SUDO_UID", "65534")
	d.must(private.Host{}.Folder(d.path("a")))
	t.Setenv("SUDO_UID", "65533")
	var exposed *private.ExposedError
	if err := (private.Host{}).Folder(d.path("a")); !errors.As(err, &exposed) {
		t.Errorf("got %v", err)
	}
}

func TestWritingAFileReplacesWhatIsThere(t *testing.T) {
	for name, plant := range map[string]func(d disk){
		"nothing":                 func(disk) {},
		"a file":                  func(d disk) { d.file("f", 0o600) },
		"a file that all may use": func(d disk) { d.file("f", 0o666) },
		"a link to another file":  func(d disk) { d.file("other", 0o600); d.link("other", "f") },
		"a link to nowhere":       func(d disk) { d.link("nowhere", "f") },
	} {
		t.Run(name, func(t *testing.T) {
			d := disk{t, t.TempDir()}
			plant(d)
			d.must(private.WriteFile(d.path("f"), []byte("ours")))
			st, err := os.Lstat(d.path("f"))
			d.must(err)
			if st.Mode() != 0o600 { // and so a regular file
				t.Errorf("the mode is %s", st.Mode())
			}
			if got, _ := os.ReadFile(d.path("f")); string(got) != "ours" {
				t.Errorf("it holds %q", got)
			}
			if got, err := os.ReadFile(d.path("other")); err == nil && string(got) != "was there" {
				t.Errorf("the other file holds %q", got)
			}
			if _, err := os.Stat(d.path("nowhere")); err == nil {
				t.Error("the link was followed")
			}
			if left, _ := filepath.Glob(d.path(".new-*")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}
