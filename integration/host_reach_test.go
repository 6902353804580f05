package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody owns nothing that matters.
const nobody = 65534

// given makes nobody the owner of a path, which only root can.
func given(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	if err := os.Lchown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// Each case plants something in a gateway's folder that another user could use; the service must not start on it.
func TestWhatOthersCouldChangeIsNotUsed(t *testing.T) {
	const everybodys = 0o777 | fs.ModeSticky
	for name, c := range map[string]struct {
		plant   func(t *testing.T, folder string)
		key     string // that the message names
		command bool   // the commands on accounts refuse it too
	}{
		"a folder of the socket that all may write": {func(t *testing.T, f string) { mkdir(t, f, "run"); chmod(t, f+"/run", 0o777) }, "extproc.listen", false},
		"the same, sticky":                          {func(t *testing.T, f string) { mkdir(t, f, "run"); chmod(t, f+"/run", everybodys) }, "extproc.listen", false},
		"somebody else's folder of the socket":      {func(t *testing.T, f string) { mkdir(t, f, "run"); given(t, f+"/run") }, "extproc.listen", false},
		"a folder of data that all may write":       {func(t *testing.T, f string) { chmod(t, f+"/data", 0o777) }, "store.sqlite.path", true},
		"a folder above that all may write":         {func(t *testing.T, f string) { chmod(t, f, 0o777) }, "store.sqlite.path", true},
		"somebody else's folder of data":            {func(t *testing.T, f string) { given(t, f+"/data") }, "store.sqlite.path", true},
		"somebody else's database":                  {func(t *testing.T, f string) { given(t, f+"/data/tokenward.db") }, "store.sqlite.path", true},
		"somebody else's key":                       {func(t *testing.T, f string) { given(t, f+"/data/tokenward.key") }, "store.sqlite.key_file", true},
		"somebody else's journal":                   {func(t *testing.T, f string) { mkdir(t, f, "data/journal"); given(t, f+"/data/journal") }, "store.journal_dir", false},
		"a journal that all may write":              {func(t *testing.T, f string) { mkdir(t, f, "data/journal"); chmod(t, f+"/data/journal", everybodys) }, "store.journal_dir", false},
		"somebody else's key of the journal":        {func(t *testing.T, f string) { put(t, f+"/data/journal.key", "{}"); given(t, f+"/data/journal.key") }, "store.journal_dir", false},
		"somebody else's admin token": {func(t *testing.T, f string) {
			put(t, f+"/data/admin.token", "known-to-somebody-else")
			given(t, f+"/data/admin.token")
		}, "admin.token_file", false},
		"a link to somebody else's admin token": {func(t *testing.T, f string) {
			mkdir(t, f, "theirs")
			put(t, f+"/theirs/token", "known-to-somebody-else")
			given(t, f+"/theirs/token")
			if err := os.Symlink(f+"/theirs/token", f+"/data/admin.token"); err != nil {
				t.Fatal(err)
			}
		}, "admin.token_file", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := prepared(t)
			folder := g.Opts.Folder
			if err := g.Add("claude-1", "claude", time.Hour); err != nil {
				t.Fatal(err)
			}
			c.plant(t, folder)
			for _, args := range [][]string{{"serve"}, {"run", "--envoy", g.Opts.Envoy}, {"check", "--online"}, {"accounts", "list"}} {
				out, err := g.brief(t, args...)
				if args[0] == "accounts" && !c.command {
					if err != nil {
						t.Errorf("%v: %v: %s", args, err, out)
					}
					continue
				}
				if err == nil || !strings.Contains(out, c.key) || !strings.Contains(out, " user") {
					t.Errorf("%v: got %v, want an error about %s: %s", args, err, c.key, out)
				}
			}
			if out, err := g.brief(t, "check"); err != nil || !strings.Contains(out, "warning: ") ||
				!strings.Contains(out, c.key) {
				t.Errorf("check: got %v, want a warning about %s: %s", err, c.key, out)
			}
			if _, err := os.Stat(filepath.Join(folder, "run", "envoy.yaml")); err == nil {
				t.Error("Envoy's configuration was written all the same")
			}
		})
	}
}

func mkdir(t *testing.T, folder, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// prepared is a gateway that is not started.
func prepared(t *testing.T) *Gateway {
	t.Helper()
	g, err := Prepare(Options{
		Binary: tool(t, "TOKENWARD", "../bin/tokenward", "make build"),
		Envoy:  tool(t, "ENVOY", "../.tools/envoy/bin/envoy", "make tools"),
		Folder: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Provider.Close() })
	return g
}

// brief runs a command that should end soon; one that serves is stopped after a while.
func (g *Gateway) brief(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(g.Opts.Binary, append(args, "-c", g.config())...)
	late := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer late.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAFolderThatIsTrustedIsUsed(t *testing.T) {
	g := prepared(t)
	mkdir(t, g.Opts.Folder, "run")
	chmod(t, g.Opts.Folder+"/run", 0o777)
	config := string(g.yaml(t)) + "host: { trusted_folders: [run] }\n"
	put(t, g.config(), config)
	if err := g.Add("claude-1", "claude", time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Stop() })
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	served(t, g.post(t, ""), "")
}

// The chain of the attack: the file is exchanged, Envoy is ended, and the next one reads what is there.
func TestEnvoysConfigurationIsWrittenAgainBeforeEveryStart(t *testing.T) {
	g := start(t, nil)
	boot := filepath.Join(g.Opts.Folder, "run", "envoy.yaml")
	ours, err := os.ReadFile(boot)
	if err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(g.Opts.Folder, "private")
	put(t, private, "do not overwrite")
	if err := os.Remove(boot); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(private, boot); err != nil {
		t.Fatal(err)
	}
	killed := g.child(t)
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "another Envoy serves", func() bool {
		a, err := g.Post(t.Context(), t.Name(), "", strings.NewReader(`{}`))
		return err == nil && a.Status == 200
	})
	st, err := os.Lstat(boot)
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("envoy.yaml: %v, %v; want a file with mode 0600", st, err)
	}
	if got, _ := os.ReadFile(boot); string(got) != string(ours) {
		t.Error("envoy.yaml is not what it was")
	}
	if got, _ := os.ReadFile(private); string(got) != "do not overwrite" {
		t.Errorf("the file that the link led to now holds %q", got)
	}
}

func TestTheBootstrapCommandReplacesALink(t *testing.T) {
	g := prepared(t)
	private, out := filepath.Join(g.Opts.Folder, "private"), filepath.Join(g.Opts.Folder, "out.yaml")
	put(t, private, "do not overwrite")
	if err := os.Symlink(private, out); err != nil {
		t.Fatal(err)
	}
	g.cli(t, "envoy", "-o", out)
	if st, err := os.Lstat(out); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v; want a file with mode 0600", st, err)
	}
	if got, _ := os.ReadFile(private); string(got) != "do not overwrite" {
		t.Errorf("the file that the link led to now holds %q", got)
	}
	if text := g.cli(t, "envoy", "-o", "/dev/stdout"); !strings.Contains(text, "static_resources") {
		t.Errorf("to standard output: %s", text)
	}
}
