package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokenward/tokenward/tokenstore"
)

// quick makes sealing cheap: its cost is age's business.
func quick(t *testing.T) {
	t.Helper()
	before := scryptWork
	scryptWork = 2
	t.Cleanup(func() { scryptWork = before })
}

const passOf = "correct horse battery"

// sealedShell is a shell with accounts a and b, the passphrase's file and the path of a sealed file with both.
func sealedShell(t *testing.T) (s *shell, pass, file string) {
	t.Helper()
	quick(t)
	s = newShell(t)
	r := living()
	r.Extra = map[string]json.RawMessage{"quota": json.RawMessage(`{"rpm":5}`)}
	r.Rotation.Claim = &tokenstore.Claim{AttemptID: "x", Holder: "gw"}
	s.put(t, "a", r)
	r.State, r.RefreshToken = tokenstore.Paused, tokenstore.NewSecret(planted+"b")
	s.put(t, "b", r)
	pass, file = s.file(t, "pass", passOf+"\n"), filepath.Join(s.folder, "backup.age")
	expect(t, "output", s.good(t, "accounts", "export", "-o", file, "--passphrase-file", pass),
		"2 accounts are in "+file+"\n")
	return s, pass, file
}

func TestASealedFileBringsAccountsBackWithEverythingButTheirClaims(t *testing.T) {
	s, pass, file := sealedShell(t)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "mode", info.Mode().Perm(), 0o600)
	data, _ := os.ReadFile(file)
	for _, clear := range []string{planted, "refresh_token", "acme"} {
		if bytes.Contains(data, []byte(clear)) {
			t.Errorf("the file shows %q", clear)
		}
	}
	left, _ := filepath.Glob(filepath.Join(s.folder, ".tokenward-export-*"))
	expect(t, "files left over", len(left), 0)

	other := newShell(t)
	expect(t, "output", other.good(t, "accounts", "import", "--from", "sealed", "--file", file, "--passphrase-file", pass), "account a is imported\naccount b is imported\n")
	a, was := other.record(t, "a"), s.record(t, "a")
	expect(t, "the secrets", sameSecrets("a", a, was), true)
	expect(t, "the expiry", a.ExpiresAt.Equal(was.ExpiresAt), true)
	expect(t, "generation", a.Rotation.Generation, was.Rotation.Generation)
	expect(t, "a claim came along", a.Rotation.Claim != nil, false)
	expect(t, "the incarnation is the old one", a.Rotation.Incarnation == was.Rotation.Incarnation, false)
	expect(t, "state of b", other.record(t, "b").State, tokenstore.Paused)
}

func TestImportOfASealedFileReplacesOnlyWhatItIsToldTo(t *testing.T) {
	s, pass, file := sealedShell(t)
	newer := living()
	newer.RefreshToken = tokenstore.NewSecret(planted + "newer")
	s.put(t, "a", newer)
	line := []string{"accounts", "import", "--from", "sealed", "--file", file, "--passphrase-file", pass}
	r := s.run(t, "", append(line, "a")...)
	expect(t, "exit code", r.code, ExitRefused)
	has(t, r.err, "account a", "it exists", "--replace")
	expect(t, "the token", s.record(t, "a").RefreshToken.Reveal(), planted+"newer")
	expect(t, "output", s.good(t, append(line, "a", "--replace")...), "account a is imported\n")
	expect(t, "the token", s.record(t, "a").RefreshToken.Reveal(), planted+"refresh")
	r = s.run(t, "", append(line, "nobody")...)
	expect(t, "exit code for nobody", r.code, ExitFailed)
	has(t, r.err, "nobody", "is not in")
	r = s.run(t, passOf, "accounts", "import", "--from", "sealed", "--file", file,
		"--passphrase-file", "-", "b", "--replace")
	expect(t, "exit code with the passphrase on standard input", r.code, 0)
}

func TestADamagedFileAndAWrongPassphraseChangeNothing(t *testing.T) {
	_, pass, file := sealedShell(t)
	whole, _ := os.ReadFile(file)
	s := newShell(t)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-20] ^= 1
	for name, c := range map[string]struct {
		data, pass string
		code       int
		says       string
	}{
		"wrong passphrase": {string(whole), "a different passphrase", ExitRefused, "passphrase is not the one"},
		"cut off":          {string(whole[:len(whole)-40]), passOf, ExitFailed, "cut off or damaged"},
		"cut in the head":  {string(whole[:40]), passOf, ExitFailed, "no sealed file"},
		"changed":          {string(flipped), passOf, ExitFailed, "cut off or damaged"},
		"empty":            {"", passOf, ExitFailed, "no sealed file"},
		"another file":     {`{"a":{}}`, passOf, ExitFailed, "no sealed file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.run(t, "", "accounts", "import", "--from", "sealed",
				"--file", s.file(t, "f", c.data), "--passphrase-file", s.file(t, "p", c.pass))
			expect(t, "exit code", r.code, c.code)
			has(t, r.err, c.says)
			expect(t, "accounts", s.count(t), 0)
		})
	}
	_ = pass
}

func TestExportRefusesAnExistingFileAWeakPassphraseAndNamesWhatItLeavesOut(t *testing.T) {
	s, pass, file := sealedShell(t)
	before, _ := os.ReadFile(file)
	r := s.run(t, "", "accounts", "export", "-o", file, "--passphrase-file", pass)
	expect(t, "exit code", r.code, ExitRefused)
	has(t, r.err, "it exists and is left as it is")
	after, _ := os.ReadFile(file)
	expect(t, "the file is as it was", bytes.Equal(before, after), true)

	next := filepath.Join(s.folder, "next.age")
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no file":       {nil, "give -o FILE"},
		"a format":      {[]string{"-o", "json", "--passphrase-file", pass}, "here -o names the file to write"},
		"no passphrase": {[]string{"-o", next}, "--passphrase-file"},
		"weak":          {[]string{"-o", next, "--passphrase-file", s.file(t, "weak", "short")}, "fewer than 12"},
	} {
		r := s.run(t, "", append([]string{"accounts", "export"}, c.args...)...)
		expect(t, "exit code: "+name, r.code, ExitUsage)
		has(t, r.err, c.says)
	}
	s.Corrupt("b")
	r = s.run(t, "", "accounts", "export", "-o", next, "--passphrase-file", pass)
	expect(t, "exit code with an unreadable record", r.code, ExitFailed)
	has(t, r.out, "1 accounts are in")
	has(t, r.err, "account b is not in the file")
	r = s.run(t, "", "accounts", "export", "nobody", "-o", next+"2", "--passphrase-file", pass)
	has(t, r.err, "account nobody does not exist", "no file was written")
}
