package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tokenward/tokenward/tokenstore"
)

// sealedFormat marks what is inside a sealed file.
const sealedFormat = "tokenward-accounts/1"

// shortestPassphrase is in characters: the file may end up anywhere, and be tried for years.
const shortestPassphrase = 12

// scryptWork is age's work factor, about a second of one core; tests lower it.
var scryptWork = 18

// sealedFile is the inside of a sealed file: an age file encrypted to a passphrase, which `age -d` opens too. The
// records are as a backend stores them.
type sealedFile struct {
	Format   string                                   `json:"format"`
	Accounts map[tokenstore.AccountID]json.RawMessage `json:"accounts"`
}

// seal writes a new file, whole or not at all. An existing file is refused, never replaced: it may be the only backup.
func seal(path, passphrase string, f sealedFile) error {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	r.SetWorkFactor(scryptWork)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	if err := errors.Join(json.NewEncoder(w).Encode(f), w.Close()); err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tokenward-export-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(out.Bytes())
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Link(tmp.Name(), path); errors.Is(err, os.ErrExist) { // unlike a rename, it does not replace
		return existing(path)
	} else if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func existing(path string) error {
	return refusedf("writing %s: it exists and is left as it is: choose another name, or remove it first", path)
}

// unseal reads a sealed file. It is checked to its end before anything of it is used.
func unseal(path, passphrase string) (sealedFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return sealedFile{}, fmt.Errorf("reading a sealed file: %w", err)
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return sealedFile{}, fmt.Errorf("unsealing %s: %w", path, err)
	}
	r, err := age.Decrypt(bytes.NewReader(data), identity)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.As(err, &wrong):
		return sealedFile{}, refusedf("unsealing %s: the passphrase is not the one it was sealed with", path)
	case err != nil:
		return sealedFile{}, fmt.Errorf(
			"unsealing %s: it is no sealed file, or its beginning is damaged: take one that tokenward accounts export wrote",
			path,
		)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return sealedFile{}, fmt.Errorf("unsealing %s: it is cut off or damaged: take another copy; nothing of it was used",
			path)
	}
	var f sealedFile
	if json.Unmarshal(plain, &f) != nil || f.Format != sealedFormat {
		return sealedFile{}, fmt.Errorf(
			"unsealing %s: it does not hold accounts in the format %s: it is of another program, or of a newer version of "+
				"this one",
			path, sealedFormat,
		)
	}
	return f, nil
}

// passphrase reads it from a file, from standard input for "-", or asks at the terminal; twice for a new file.
func passphrase(cmd *cobra.Command, path string, isNew bool) (string, error) {
	var pass string
	var err error
	if path == "" {
		pass, err = askAtTerminal(cmd, isNew)
	} else {
		pass, err = readLine(cmd, "--passphrase-file", path, "the passphrase")
	}
	if err == nil && isNew && len([]rune(pass)) < shortestPassphrase {
		err = Usagef("the passphrase has fewer than %d characters: take a longer one, e.g. from openssl rand -base64 24",
			shortestPassphrase)
	}
	return pass, err
}

func askAtTerminal(cmd *cobra.Command, isNew bool) (string, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", Usagef(
			"no passphrase: there is no terminal to ask at: give --passphrase-file FILE, or - for standard input",
		)
	}
	prompt := func(text string) (string, error) {
		fmt.Fprint(cmd.ErrOrStderr(), text)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(b), err
	}
	pass, err := prompt("Passphrase: ")
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	if pass == "" {
		return "", Usagef("the passphrase is empty")
	}
	if isNew {
		again, err := prompt("Again: ")
		if err != nil {
			return "", fmt.Errorf("reading the passphrase: %w", err)
		}
		if again != pass {
			return "", Usagef("the two passphrases differ: try again")
		}
	}
	return pass, nil
}
